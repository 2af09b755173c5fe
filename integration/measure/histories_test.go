package measure

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
)

// A drive that comes back as it once was, halves that were used apart, clones: plexctl, lvm2 and mdadm go through the same
// histories on the same kind of drives, and each tells what it serves then. The table in docs/crash-safety.md is made of what
// this prints.

// historiesLimit bounds the machine with all histories.
const historiesLimit = 25 * time.Minute

// TestHostHistoriesOfPeers has plexctl, lvm2 and mdadm go through all histories, and tells what each serves. What plexctl serves is
// asserted, where it promises something.
//
//gate:kernels plain
//gate:when sweep
func TestHostHistoriesOfPeers(t *testing.T) {
	onPeerKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Tools = append(machine.Tools, "mdadm")
		machine.Output = t.Output()
		ctx, cancel := context.WithTimeout(t.Context(), historiesLimit)
		defer cancel()
		if err := machine.Run(ctx, vm.TestArgs("TestGuestHistories")...); err != nil {
			t.Error(err)
		}
	})
}

// Contents of the volume: each byte of a block is the number of the last write to all of it.
const (
	first  = '1'
	second = '2'
	third  = '3'
)

// history is something that happens to a mirror of two legs. It begins with the mirror in use, and first written to both legs. It
// ends with the mirror stopped, and what is to be there for the next start plugged in.
type history struct {
	name   string
	play   func(r *historyRig)
	newest string // the contents that a user may find afterwards; empty: none, the start is to be refused
	spared bool   // plexctl promises nothing
}

// histories are all of them.
func histories() []history {
	all := []history{
		{"an orderly stop", func(r *historyRig) { r.stop() }, "1", false},
		{"each half was used alone, as often", func(r *historyRig) { r.fork(); r.plugAll() }, "", false},
		{"each half was used alone, the second half more often", func(r *historyRig) {
			r.fork()
			for range 3 {
				r.startWith(1)
				r.write(third)
				r.stop()
			}
			r.plugAll()
		}, "", false},
	}
	for leg, which := range []string{"first", "second"} {
		all = append(all,
			history{"the " + which + " leg is an image of an earlier stop", func(r *historyRig) { r.earlierStop(leg) }, "2", false},
			history{"the " + which + " leg is an image of the present run, power cut at once", func(r *historyRig) { r.presentRun(leg, 0) }, "2", true},
			history{"the " + which + " leg is an image of the present run, power cut later", func(r *historyRig) { r.presentRun(leg, bitmapRest) }, "2", true},
			history{"a clone of the " + which + " leg is beside it", func(r *historyRig) { r.cloneBeside(leg) }, "2", false},
			history{"the " + which + " leg failed, power cut, it is back", func(r *historyRig) { r.legFails(leg); r.plugAll() }, "2", false},
			history{"the " + which + " leg failed, power cut, it alone is there", func(r *historyRig) { r.legFails(leg); r.plug(leg) }, "", false},
		)
	}
	return all
}

// bitmapRest is how long a kernel takes to clear the bits of a bitmap after the last write, at most: it does so every five seconds,
// in two steps.
const bitmapRest = 16 * time.Second

// fork has each half started without the other, and written to.
func (r *historyRig) fork() {
	r.t.Helper()
	r.stop()
	for leg, content := range []byte{second, third} {
		r.startWith(leg)
		r.write(content)
		r.stop()
	}
}

// startWith starts the mirror with one leg alone, which nobody refuses who is asked to.
func (r *historyRig) startWith(leg int) {
	r.t.Helper()
	r.unplugAll()
	r.plug(leg)
	if out, ok := r.keeper.start(r.plugged(), true); !ok {
		r.t.Fatalf("%s does not start with one leg: %s", r.keeper.name(), out)
	}
}

// earlierStop puts a leg back to the stop before the last one.
func (r *historyRig) earlierStop(leg int) {
	r.t.Helper()
	r.stop()
	image := r.image(leg)
	r.start()
	r.write(second)
	r.stop()
	r.unplugAll()
	r.restore(leg, image)
	r.plugAll()
}

// presentRun puts a leg back to an earlier moment of the run that a power cut has ended, some time after the last write.
func (r *historyRig) presentRun(leg int, rest time.Duration) {
	r.t.Helper()
	image := r.image(leg)
	r.write(second)
	time.Sleep(rest)
	r.cut()
	r.restore(leg, image)
	r.plugAll()
}

// cloneBeside plugs in a clone of a leg that is in use, and leaves it there.
func (r *historyRig) cloneBeside(leg int) {
	r.t.Helper()
	image := r.image(leg)
	r.drives = append(r.drives, r.newDrive(len(r.drives)))
	clone := len(r.drives) - 1
	r.restore(clone, image)
	r.plug(clone)
	r.write(second)
	r.told("in use", r.look())
	r.stop()
}

// legFails has a leg fail, writes more, and cuts the power. No drive is plugged in then.
func (r *historyRig) legFails(leg int) {
	r.t.Helper()
	r.drives[leg].Pull()
	r.write(first) // which finds it
	lab.WaitFor(r.t, "the kernel to drop a leg", 30*time.Second, func() bool { return r.keeper.dropped() })
	r.write(second)
	r.cut()
}

// TestGuestHistories plays everything, by turns.
func TestGuestHistories(t *testing.T) {
	t.Setenv("DM_DISABLE_UDEV", "1") // there is no udevd
	t.Setenv("MDADM_NO_UDEV", "1")
	lab.NewLab(t)
	fmt.Print(versions(t))
	for _, h := range histories() {
		t.Run(h.name, func(t *testing.T) {
			t.Run("plexctl", func(t *testing.T) { playHistory(t, h, plexctlKeeper{t}) })
			t.Run("lvm2", func(t *testing.T) { playHistory(t, h, lvmKeeper{t}) })
			t.Run("mdadm", func(t *testing.T) { playHistory(t, h, mdadmKeeper{t}) })
		})
	}
}

// versions says what is compared.
func versions(t *testing.T) string {
	t.Helper()
	lvm, _, _ := strings.Cut(strings.TrimSpace(lab.RunTool(t, "lvm", "version")), "\n")
	return fmt.Sprintf("result: Linux %s, lvm2 %s, %s", readValue(t, "/proc/sys/kernel/osrelease"),
		strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(lvm), "LVM version:")), lab.RunTool(t, "mdadm", "--version"))
}

// playHistory plays one history with one of them, starts the mirror, and looks at what it serves: at once, and when nothing is copied any more.
func playHistory(t *testing.T, h history, k keeper) {
	t.Helper()
	r := newHistoryRig(t, h.name, k)
	h.play(r)
	_, _ = lab.TryTool(t, "busybox", "dmesg", "-c") // what was said before
	said, ok := k.start(r.plugged(), false)
	r.told("start", map[bool]string{true: "started", false: "refused"}[ok], flat(said))
	if !ok {
		if h.newest == "1" {
			t.Errorf("%s does not start", k.name())
		}
		return
	}
	if _, asserted := k.(plexctlKeeper); asserted && h.newest == "" {
		t.Errorf("%s started", k.name())
	}
	found := r.look()
	r.told("at once", found)
	r.settle()
	later := r.look()
	r.told("in the end", later, "legs", r.legContents(), "state", flat(k.state()))
	kernel, _ := lab.TryTool(t, "busybox", "dmesg")
	r.told("kernel", flat(ofMirrors(kernel)))
	_, asserted := k.(plexctlKeeper)
	for _, contents := range []contents{found, later} {
		if (h.newest == "1" || asserted && !h.spared) && contents.all() != h.newest {
			t.Errorf("%s serves %v, want %s", k.name(), contents, h.newest)
		}
	}
}

// told prints a part of the result.
func (r *historyRig) told(what string, parts ...any) {
	line := fmt.Sprintf("result: %s | %s | %s", r.history, r.keeper.name(), what)
	for _, p := range parts {
		line += fmt.Sprintf(" | %v", p)
	}
	fmt.Println(line)
}

// flat is a text of several lines as one.
func flat(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), " ⏎ ")
}

// ofMirrors is the lines of the kernel's log that are about mirrors.
func ofMirrors(log string) string {
	var found strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "raid") || strings.Contains(line, "md") || strings.Contains(line, "mdX") || strings.Contains(line, "bitmap") {
			found.WriteString(line)
		}
	}
	return found.String()
}
