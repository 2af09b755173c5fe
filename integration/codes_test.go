package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

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
}

// run runs it on w, which is nil for those that are alone.
func (p provocation) run(t *testing.T, w *world, code vds.Code) {
	if p.alone != nil {
		p.alone(t, code)
		return
	}
	r := *w.rig
	r.t = t
	mine := *w
	mine.rig = &r
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
		if !everyCode() && !slices.Contains(addPlexPage, code) {
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

// everyCode reports whether all codes are provoked: on one kernel, and with PLEXCTL_SWEEP on each.
func everyCode() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || sweep.On() {
		return true
	}
	return !strings.HasPrefix(unix.ByteSliceToString(name.Release[:]), "6.1.")
}

// world is the LUNs that calls are refused for.
type world struct {
	*rig
	web, spare *lun.LUN // a plex each, on drives 0 and 1
	near       *lun.LUN // smaller than web, on its drive
	pairs      *lun.LUN // a mirror on drives 2 and 3
	busy       *lun.LUN // under op, from drive 2 to 3
	op         *resync.Async
	half       *lun.LUN // a mirror on drives 0 and 4; its plex on the latter has failed
	fragile    *fragile // drive 4
}

func newWorld(t *testing.T) *world {
	t.Helper()
	newLab(t)
	w := &world{fragile: newFragile(t, "fragile")}
	var devices []string
	for range 4 {
		devices = append(devices, newLoop(t, codesDrive, 512))
	}
	w.rig = labelled(t, append(devices, w.fragile.path)...)
	w.web, w.spare = w.create("web1", codesLUN, 0), w.create("spare3", codesLUN, 1)
	w.near, w.pairs = w.create("near", codesLUN-size.MiB, 0), w.mirrored("pairs", 2, 3)
	w.create("big", 24*size.MiB, 1) // leaves too little for another plex
	w.busy, w.op = w.rig.busy("busy", 2, 3)
	w.half = w.mirrored("half", 0, 4)
	w.failLeg("half", w.fragile)
	w.fragile.mend()
	w.refresh()
	return w
}

// TestHostCodesAreDocumented holds the tables of docs/vds.md against TestCodes: every test that a row names is there, and
// every one that is there is named.
func TestHostCodesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/vds.md")
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

// exitStatuses is how the command ends, by code, for those codes that a test provokes through it.
var exitStatuses = map[vds.Code]int{
	vds.OK: 0, vds.ErrProviderFailure: 1, vds.ErrInvalidArg: 2, vds.ErrObjectNotFound: 3, vds.ErrObjectDeleted: 3,
	vds.ErrAnotherCallInProgress: 4, vds.ErrDeviceInUse: 4, vds.ErrNotSupported: 5, vds.ErrCancelTooLate: 5,
	vds.ErrInvalidOperation: 5, vds.ErrMediaWriteProtected: 5, vds.ErrInvalidSectorSize: 5, vds.ErrPlexLastActive: 5,
	vds.ErrNameNotUnique: 5, vds.ErrDiskNotEmpty: 5, vds.ErrObjectExists: 5, vds.ErrProviderCacheCorrupt: 6, vds.ErrIO: 6,
	vds.ErrObjectStatusFailed: 6, vds.ErrDiskConfigurationNotSync: 6, vds.ErrDiskConfigurationNotSaved: 6,
	vds.ErrNotEnoughSpace: 7, vds.ErrNotEnoughDrive: 7, vds.ErrAccessDenied: 8, vds.ErrOperationCanceled: 9,
	vds.ErrTimeout: 10, vds.ErrAbort: 130,
}

// refusal is a call that must be refused, in the library and as a command.
type refusal struct {
	code  vds.Code
	call  func(ctx context.Context) error // nil: there is none
	args  []string                        // of plexctl; nil: the command cannot ask for it
	says  []string                        // what both must say
	hint  string                          // part of the hint; empty: there is none
	scope scope                           // what must be as before
}

// refused makes the call and runs the command, and fails the test unless both are refused as they should, nothing has
// changed, and all LUNs can be looked at.
func (r *rig) refused(is refusal) {
	r.t.Helper()
	before := r.state(is.scope)
	if is.call != nil {
		r.checkError(is, is.call(r.t.Context()))
	}
	if is.args != nil {
		says := append([]string{is.code.String(), fmt.Sprintf("0x%08X", uint32(is.code)), is.hint}, is.says...)
		r.refuse(exitStatuses[is.code], is.args, says...)
	}
	if diff := cmp.Diff(before, r.state(is.scope)); diff != "" {
		r.t.Errorf("a refusal has changed something (-before +after):\n%s", diff)
	}
	r.readable()
}

// checkError fails the test unless err is the refusal.
func (r *rig) checkError(is refusal, err error) {
	r.t.Helper()
	if got := vds.CodeOf(err); got != is.code {
		r.t.Errorf("%v: %v, want %v", got, err, is.code)
		return
	}
	if hint := vds.HintOf(err); !strings.Contains(hint, is.hint) || (hint == "") != (is.hint == "") {
		r.t.Errorf("hint %q, want one with %q", hint, is.hint)
	}
	for _, text := range is.says {
		if !strings.Contains(err.Error(), text) {
			r.t.Errorf("error does not say %q: %v", text, err)
		}
	}
}

// readable looks at every LUN, which must work whatever it is under.
func (r *rig) readable() {
	r.t.Helper()
	r.refresh()
	for _, l := range r.p.LUNs() {
		record, err := l.Record()
		if err != nil {
			r.t.Error(err)
		}
		if props, err := l.Properties(r.t.Context()); err != nil || len(props.Plexes) != len(record.Plexes) {
			r.t.Errorf("properties of %s: %v, %d plexes, want %d", l.Name(), err, len(props.Plexes), len(record.Plexes))
		}
	}
}

// refusedAdd is refused for AddPlex of a source with plain options.
func (r *rig) refusedAdd(code vds.Code, target, source *lun.LUN, hint string, says ...string) {
	r.t.Helper()
	r.refused(refusal{code: code, hint: hint, says: says, call: adding(target, source), args: addArgs(target, source.ID().String())})
}

// adding is the call of AddPlex.
func adding(target, source *lun.LUN) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := target.AddPlex(ctx, source.ID(), lun.AttachOptions{})
		return err
	}
}

// addArgs is the command for AddPlex.
func addArgs(target *lun.LUN, source string) []string {
	return []string{"plex", "add", target.ID().String(), source, "--yes"}
}
