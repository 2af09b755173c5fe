package codes

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/doctest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// provocations is the tests that make plexctl return a code, by code and name.
type provocations map[vds.Code]map[string]provocation

// provocation is one of them. It makes drives of its own, or, when it leaves everything as it was, uses those of all.
type provocation struct {
	alone    func(t *testing.T, code vds.Code)
	together func(t *testing.T, w *world, code vds.Code)
	kernel   bool // the kernel or a device decides, so that cmd/plexctl cannot provoke it in memory
}

// onKernel is p as one that the kernel or a device decides.
func (p provocation) onKernel() provocation {
	p.kernel = true
	return p
}

// run runs it on w, which is nil for those that are alone.
func (p provocation) run(t *testing.T, w *world, code vds.Code) {
	if p.alone != nil {
		p.alone(t, code)
		return
	}
	r := *w.Rig
	r.T = t
	mine := *w
	mine.Rig = &r
	p.together(t, &mine, code)
}

// own and shared make provocations of functions.
func own(f func(*testing.T, vds.Code)) provocation { return provocation{alone: f} }

func shared(f func(*testing.T, *world, vds.Code)) provocation { return provocation{together: f} }

// allProvocations is those of every call.
func allProvocations() provocations {
	all := provocations{}
	for _, part := range []provocations{
		addSuccesses(), addRefusals(), addRefusalsOfDrives(), addFaults(), resultsOfOperations(), plexRefusals(), recoverRefusals(),
		asyncAnswers(), otherRefusals(), deviceRefusals(),
	} {
		for code, tests := range part {
			if all[code] == nil {
				all[code] = tests
				continue
			}
			maps.Copy(all[code], tests)
		}
	}
	return all
}

// chosen is the provocations that are made now.
func (p provocations) chosen() provocations {
	if sweep.On() {
		return p
	}
	for _, tests := range p {
		maps.DeleteFunc(tests, func(_ string, is provocation) bool { return !is.kernel })
	}
	return p
}

// each runs f for those that are alone, or for the others, by code and name.
func (p provocations) each(alone bool, f func(code vds.Code, name string, p provocation)) {
	for _, code := range slices.Sorted(maps.Keys(p)) {
		for _, name := range slices.Sorted(maps.Keys(p[code])) {
			if (p[code][name].alone != nil) == alone {
				f(code, name, p[code][name])
			}
		}
	}
}

// TestCodes provokes the codes of docs/vds.md, as TestCodes/CODE/name: those that the kernel or a device decides, and with
// PLEXCTL_SWEEP all. TestCodes of cmd/plexctl provokes the others on a simulated kernel.
//
//gate:kernels bare
func TestCodes(t *testing.T) { provokeAll(t, allProvocations().chosen()) }

// TestCodesOfAddPlex provokes the codes of the AddPlex page where TestCodes does not run.
//
//gate:kernels old
func TestCodesOfAddPlex(t *testing.T) {
	page := allProvocations().chosen()
	maps.DeleteFunc(page, func(code vds.Code, _ map[string]provocation) bool { return !slices.Contains(addPlexPage, code) })
	provokeAll(t, page)
}

// provokeAll provokes codes, as subtests CODE/name.
func provokeAll(t *testing.T, all provocations) {
	t.Helper()
	var w *world
	run := func(code vds.Code, name string, p provocation) {
		t.Run(code.String()+"/"+name, func(t *testing.T) { p.run(t, w, code) })
	}
	all.each(true, run) // first: when one of them ends, all LUNs are taken down
	w = newWorld(t)
	all.each(false, run)
}

// addPlexPage is the codes of the AddPlex page. They are provoked on every kernel.
var addPlexPage = []vds.Code{
	vds.ErrProviderCacheCorrupt, vds.ErrObjectDeleted, vds.ErrObjectStatusFailed, vds.ErrAnotherCallInProgress,
	vds.ErrObjectNotFound, vds.ErrInvalidOperation,
}

// world is the LUNs that calls are refused for.
type world struct {
	*lab.Rig
	web, spare *lun.LUN // a plex each, on drives 0 and 1
	near       *lun.LUN // in a sweep: smaller than web, on its drive
	pairs      *lun.LUN // in a sweep: a mirror on drives 2 and 3
	busy       *lun.LUN // under op, from drive 2 to 3
	op         *resync.Async
	half       *lun.LUN     // a mirror on drives 0 and 4; its plex on the latter has failed
	fragile    *lab.Brittle // drive 4
}

func newWorld(t *testing.T) *world {
	t.Helper()
	lab.NewLab(t)
	w := &world{fragile: lab.NewBrittle(t, "fragile", lab.SmallDrive)}
	var devices []string
	for range 4 {
		devices = append(devices, lab.NewLoop(t, lab.SmallDrive, 512))
	}
	w.Rig = lab.Labelled(t, append(devices, w.fragile.Path)...)
	w.web, w.spare = w.Create("web1", lab.SmallLUN, 0), w.Create("spare3", lab.SmallLUN, 1)
	if sweep.On() { // what the kernel decides does not need them
		w.near, w.pairs = w.Create("near", lab.SmallLUN-size.MiB, 0), w.Mirrored("pairs", 2, 3)
		w.Create("big", 24*size.MiB, 1) // leaves too little for another plex
	}
	w.busy, w.op = w.Busy("busy", 2, 3)
	w.half = w.Mirrored("half", 0, 4)
	failLeg(w.Rig, "half", w.fragile)
	w.fragile.Heal()
	w.Refresh()
	return w
}

// TestHostCodesAreDocumented holds the tables of docs/vds.md against TestCodes: a row names every test, and no other, and says
// of each whether the kernel decides.
func TestHostCodesAreDocumented(t *testing.T) {
	named, err := doctest.CodeTests(filepath.Join(lab.Root(), "docs/vds.md"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for code, tests := range allProvocations() {
		for name, is := range tests {
			want = append(want, fmt.Sprintf("%s/%s in memory: %t", code, name, !is.kernel))
		}
	}
	for _, is := range named {
		got = append(got, fmt.Sprintf("%s in memory: %t", is.Name, is.InMemory))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("docs/vds.md (-tests +named):\n%s", diff)
	}
}

// refusal is a call that must be refused, in the library and as a command.
type refusal struct {
	code  vds.Code
	call  func(ctx context.Context) error // nil: there is none
	args  []string                        // of plexctl; nil: the command cannot ask for it
	says  []string                        // what both must say
	hint  string                          // part of the hint; empty: there is none
	scope lab.Scope                       // what must be as before
}

// refused makes the call and runs the command, and fails the test unless both are refused as they should, nothing has
// changed, and all LUNs can be looked at.
func refused(r *lab.Rig, is refusal) {
	r.T.Helper()
	before := r.State(is.scope)
	if is.call != nil {
		checkError(r, is, is.call(r.T.Context()))
	}
	if is.args != nil {
		says := append([]string{is.code.String(), fmt.Sprintf("0x%08X", uint32(is.code)), is.hint}, is.says...)
		r.Refuse(lab.ExitStatuses[is.code], is.args, says...)
	}
	if diff := cmp.Diff(before, r.State(is.scope)); diff != "" {
		r.T.Errorf("a refusal has changed something (-before +after):\n%s", diff)
	}
	r.Readable()
}

// checkError fails the test unless err is the refusal.
func checkError(r *lab.Rig, is refusal, err error) {
	r.T.Helper()
	if got := vds.CodeOf(err); got != is.code {
		r.T.Errorf("%v: %v, want %v", got, err, is.code)
		return
	}
	if hint := vds.HintOf(err); !strings.Contains(hint, is.hint) || (hint == "") != (is.hint == "") {
		r.T.Errorf("hint %q, want one with %q", hint, is.hint)
	}
	for _, text := range is.says {
		if !strings.Contains(err.Error(), text) {
			r.T.Errorf("error does not say %q: %v", text, err)
		}
	}
}

// refusedAdd is refused for AddPlex of a source with plain options.
func refusedAdd(r *lab.Rig, code vds.Code, target, source *lun.LUN, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{code: code, hint: hint, says: says, call: adding(target, source), args: lab.AddArgs(target, source.ID().String())})
}

// adding is the call of AddPlex.
func adding(target, source *lun.LUN) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := target.AddPlex(ctx, source.ID(), lun.AttachOptions{})
		return err
	}
}
