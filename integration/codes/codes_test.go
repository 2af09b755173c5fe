package codes

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
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
		asyncAnswers(), otherRefusals(),
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

// TestCodes provokes every code that docs/vds.md has, as TestCodes/CODE/name. On Linux 6.1 it is those of the AddPlex page,
// and all with PLEXCTL_SWEEP.
func TestCodes(t *testing.T) {
	all := allProvocations()
	var w *world
	run := func(code vds.Code, name string, p provocation) {
		if !lab.EveryCode() && !slices.Contains(addPlexPage, code) {
			return
		}
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
	near       *lun.LUN // smaller than web, on its drive
	pairs      *lun.LUN // a mirror on drives 2 and 3
	busy       *lun.LUN // under op, from drive 2 to 3
	op         *resync.Async
	half       *lun.LUN     // a mirror on drives 0 and 4; its plex on the latter has failed
	fragile    *lab.Fragile // drive 4
}

func newWorld(t *testing.T) *world {
	t.Helper()
	lab.NewLab(t)
	w := &world{fragile: lab.NewFragile(t, "fragile")}
	var devices []string
	for range 4 {
		devices = append(devices, lab.NewLoop(t, lab.SmallDrive, 512))
	}
	w.Rig = lab.Labelled(t, append(devices, w.fragile.Path)...)
	w.web, w.spare = w.Create("web1", lab.SmallLUN, 0), w.Create("spare3", lab.SmallLUN, 1)
	w.near, w.pairs = w.Create("near", lab.SmallLUN-size.MiB, 0), w.Mirrored("pairs", 2, 3)
	w.Create("big", 24*size.MiB, 1) // leaves too little for another plex
	w.busy, w.op = w.Rig.Busy("busy", 2, 3)
	w.half = w.Mirrored("half", 0, 4)
	failLeg(w.Rig, "half", w.fragile)
	w.fragile.Mend()
	w.Refresh()
	return w
}

// TestHostCodesAreDocumented holds the tables of docs/vds.md against TestCodes: every test that a row names is there, and
// every one that is there is named.
func TestHostCodesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(lab.Root(), "docs/vds.md"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for code, tests := range allProvocations() {
		for name := range tests {
			want = append(want, code.String()+"/"+name)
		}
	}
	for line := range strings.Lines(string(text)) {
		got = append(got, testsOfRow(line)...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("docs/vds.md (-tests +named):\n%s", diff)
	}
}

// testsOfRow is the tests that the last column of a row of a table names: `C/name` is one for each code in the row.
func testsOfRow(line string) []string {
	cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	if !strings.HasPrefix(line, "| ") || len(cells) < 4 {
		return nil
	}
	named := regexp.MustCompile("`([^`]+/[^`]+)`").FindAllStringSubmatch(cells[len(cells)-1], -1)
	codes := regexp.MustCompile("`((?:VDS_|S_|E_)[A-Z_]+)`").FindAllStringSubmatch(strings.Join(cells[:2], "|"), -1)
	var tests []string
	for _, name := range named {
		rest, short := strings.CutPrefix(name[1], "C/")
		if !short {
			tests = append(tests, name[1])
			continue
		}
		for _, code := range codes {
			tests = append(tests, code[1]+"/"+rest)
		}
	}
	return tests
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
