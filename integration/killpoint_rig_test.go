package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// killRig is drives, and a LUN on them that a verified writer is at work on while plexctl is killed again and again.
//
// Which LUNs there are is said by a text, the layout: "spare=1 web1=02" is a LUN spare on drive 1 and a mirror web1 on drives 0
// and 2, in the order of their names; "web1=0+" is one that was extended.
type killRig struct {
	*live
	seed    uint64
	brittle *brittle            // drive 1; nil where LUNs are tracked
	effects map[string][]string // of each operation that has run to its end, by its name
	killTally
}

// killTally is what a test of kills or of cuts has to tell.
type killTally struct {
	kills      int
	mismatches int // lost writes, unequal plexes, LUNs in no state that they may be in
	suspended  int // LUNs that did not go on by themselves
	leaked     int // devices, names, processes too many
	stall      time.Duration
}

// Sizes of what plexctl is killed over: as small as they can be, for there are many points.
const (
	killDrive  = 40 * size.MiB
	killLength = 4 * size.MiB
)

// webName is the name of the LUN that is written to.
const webName = "web1"

// layout is the LUNs that there are, as this process knows them: of what another one has changed it knows after refresh.
func (k *killRig) layout() string {
	k.t.Helper()
	drives := map[string]int{}
	for i, path := range k.drives {
		d, err := k.p.Drive(path)
		if err != nil {
			k.t.Fatal(err)
		}
		drives[d.ID.String()] = i
	}
	var luns []string
	for _, l := range k.p.LUNs() {
		record, err := l.Record()
		if err != nil {
			k.t.Fatal(err)
		}
		var on []string
		for _, p := range record.Copies() {
			on = append(on, strconv.Itoa(drives[p.Meta.Drive.String()]))
		}
		slices.Sort(on)
		text := record.Name + "=" + strings.Join(on, "")
		if record.Size.Bytes() > killLength {
			text += "+"
		}
		luns = append(luns, text)
	}
	slices.Sort(luns)
	return strings.Join(luns, " ")
}

// plexesOf is the drives of a LUN in a layout.
func plexesOf(layout, name string) []int {
	for field := range strings.FieldsSeq(layout) {
		of, on, _ := strings.Cut(field, "=")
		if of != name {
			continue
		}
		var drives []int
		for _, digit := range strings.TrimSuffix(on, "+") {
			drives = append(drives, int(digit-'0'))
		}
		return drives
	}
	return nil
}

// reach makes the layout what is wanted, whatever it is.
func (k *killRig) reach(want string) {
	k.t.Helper()
	if k.layout() == want {
		return
	}
	for _, l := range k.p.LUNs() {
		if l.ID() == k.l.ID() {
			continue
		}
		must(k.t, l.Delete(k.t.Context()))
	}
	if k.l.Name() != webName {
		must(k.t, k.l.Rename(k.t.Context(), webName))
		k.writeOn()
	}
	have := plexesOf(k.layout(), webName)
	if strings.Contains(k.layout(), "+") {
		k.beginAnew()
		have = []int{0}
	}
	plexes := plexesOf(want, webName)
	for _, drive := range plexes {
		if !slices.Contains(have, drive) {
			k.addOn(k.l, drive)
		}
	}
	for _, drive := range have {
		if !slices.Contains(plexes, drive) {
			k.removeFrom(k.l, drive)
		}
	}
	if spare := plexesOf(want, "spare"); spare != nil {
		k.mirroredOn("spare", spare)
	}
	if got := k.layout(); got != want {
		k.t.Fatalf("layout %q, want %q", got, want)
	}
}

// mirroredOn makes a LUN with plexes on drives.
func (k *killRig) mirroredOn(name string, drives []int) {
	k.t.Helper()
	l := k.create(name, killLength, drives[0])
	for _, drive := range drives[1:] {
		k.addOn(l, drive)
	}
}

// beginAnew replaces web1 by a new one on drive 0, and the writer by one that begins anew.
func (k *killRig) beginAnew() {
	k.t.Helper()
	if k.w != nil {
		k.w.stop()
		k.stall = max(k.stall, latencyOf(k.w.waits).max)
		must(k.t, k.l.Delete(k.t.Context()))
	}
	k.l = k.create(webName, killLength, 0)
	k.seed++
	k.w = &writer{path: "/dev/mapper/plex-" + webName, stamps: stamps{seed: k.seed, length: killLength}, flags: unix.O_DSYNC}
	k.w.onAck = func(uint64) { time.Sleep(3 * time.Millisecond) } // or nobody else gets to run in an emulated machine
	if !k.track {                                                 // else it is zero
		fillWith(k.t, k.w.path, "\x00", killLength)
	}
	k.w.start(k.t)
	k.more(5)
}

// settle brings every operation that this process knows of to its end, and waits until all plexes are equal by the kernel's word.
func (k *killRig) settle(recovers bool) {
	k.t.Helper()
	for _, l := range k.p.LUNs() {
		record, err := l.Record()
		must(k.t, err)
		if record.Scan != uuid.Nil {
			must(k.t, l.EndScan(k.t.Context()))
			continue
		}
		if recovers && k.health(l) == vds.HealthFailedRedundancy {
			k.end(l.Recover(k.t.Context()))
			continue
		}
		if record.Operation == nil {
			continue
		}
		if record.MaxRate != 0 {
			_ = l.SetRate(k.t.Context(), lun.Unlimited) // or it has just ended
		}
		k.end(l.Operation())
	}
	for _, l := range k.p.LUNs() {
		waitFor(k.t, l.Name()+" to be healthy", syncLimit, func() bool {
			k.refresh()
			return k.health(l) == vds.HealthHealthy
		})
	}
	k.refresh()
}

// portrait is how everything stands, for whoever looks for the reason of a failure.
func (k *killRig) portrait() string {
	status, _ := tryTool(k.t, "plexctl", "status") // its exit status is that of the LUNs
	devices, _ := tryTool(k.t, "dmsetup", "table")
	legs, _ := tryTool(k.t, "dmsetup", "status")
	return status + devices + legs
}

// writeOn lets the writer go on if it was stopped, under the name that web1 has now, and sees it write.
func (k *killRig) writeOn() {
	k.t.Helper()
	k.refresh()
	var err error
	k.l, err = k.p.LUN(k.l.ID().String()) // which has the name
	must(k.t, err)
	k.w.path = "/dev/mapper/plex-" + k.l.Name()
	if k.w.stopped.Load() {
		k.w.goOn(k.t)
	}
	k.more(2)
}

// health is how a LUN stands.
func (k *killRig) health(l *lun.LUN) vds.Health {
	k.t.Helper()
	props, err := l.Properties(k.t.Context())
	must(k.t, err)
	return props.Health
}

// verify stops the writer, looks at everything, and lets the writer go on. It returns what is wrong: with the data, and with what
// is there that should not be.
func (k *killRig) verify() (mismatches, leaks []string) {
	k.t.Helper()
	k.w.stop()
	if k.w.err != nil {
		mismatches = append(mismatches, fmt.Sprintf("writer: %v", k.w.err))
	}
	if err := k.w.check(k.w.path, k.w.acked.Load(), 0); err != nil {
		mismatches = append(mismatches, fmt.Sprintf("%d acknowledged writes: %v", k.w.acked.Load(), err))
	}
	mismatches = append(mismatches, k.unequal()...)
	leaks = k.leaks()
	for deadline := time.Now().Add(2 * time.Second); len(leaks) > 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		leaks = k.leaks() // udevd takes its time to remove names, and a process to end
	}
	k.stall = max(k.stall, latencyOf(k.w.waits).max)
	k.w.waits = nil
	k.w.goOn(k.t)
	return mismatches, leaks
}

// unequal says which LUNs have plexes that differ.
func (k *killRig) unequal() []string {
	k.t.Helper()
	var found []string
	for _, l := range k.p.LUNs() {
		record, err := l.Record()
		must(k.t, err)
		if sums := k.legs(record); len(slices.Compact(sums)) > 1 {
			found = append(found, fmt.Sprintf("plexes of %s differ", record.Name))
		}
	}
	return found
}

// leaks are devices and names that belong to no LUN, LUNs without what belongs to them, and a plexctl that has not ended.
func (k *killRig) leaks() []string {
	k.t.Helper()
	list, err := k.control.List(k.t.Context())
	must(k.t, err)
	var found []string
	names, devices := map[string]bool{}, map[string]int{}
	for _, d := range list {
		names[d.Name] = true
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		devices[d.UUID[:min(len(d.UUID), len("PLEX-")+36)]]++
		if info, err := k.control.Info(k.t.Context(), d.Name); err != nil || info.Suspended || !info.Live || info.Inactive {
			found = append(found, fmt.Sprintf("device %+v, %v", info, err))
		}
	}
	for _, l := range k.p.LUNs() {
		record, err := l.Record()
		must(k.t, err)
		want := 1
		if n := len(record.Copies()); n > 1 || record.Tracked() {
			want += 2 * n
		}
		id := "PLEX-" + record.ID.String()
		if devices[id] != want {
			found = append(found, fmt.Sprintf("%s has %d devices, want %d", record.Name, devices[id], want))
		}
		delete(devices, id)
		if info, err := k.control.Info(k.t.Context(), "plex-"+record.Name); err != nil || !leadsTo("/dev/mapper/plex-"+record.Name, info.Dev) {
			found = append(found, fmt.Sprintf("/dev/mapper/plex-%s does not lead to its device", record.Name))
		}
	}
	for id, n := range devices {
		found = append(found, fmt.Sprintf("%d devices %s… of no LUN", n, id))
	}
	for _, path := range append(glob(k.t, "/dev/mapper/plex-*"), glob(k.t, "/dev/mapper/.plex-*")...) {
		if !names[filepath.Base(path)] {
			found = append(found, path+" leads nowhere")
		}
	}
	return append(found, processes(k.t, "plexctl")...)
}

// leadsTo reports whether a path is a block device, or leads to it.
func leadsTo(path string, dev devno.No) bool {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return err == nil && devno.FromDev(uint64(st.Rdev)) == dev //nolint:unconvert // 32 bits on some machines
}

// goesOnLimit is how long a LUN may stay suspended before it counts as left so. It goes on within a second where the machine has
// nothing else to do; how long the writer had to wait is told for the judgement of people.
const goesOnLimit = 10 * time.Second

// goesOn waits for all devices of plexctl to go on by themselves.
func (k *killRig) goesOn() bool {
	k.t.Helper()
	for deadline := time.Now().Add(goesOnLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if !k.anySuspended() {
			return true
		}
	}
	return false
}

// anySuspended reports whether a device of plexctl is suspended this very moment.
func (k *killRig) anySuspended() bool {
	k.t.Helper()
	list, err := k.control.List(k.t.Context())
	must(k.t, err)
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		if info, err := k.control.Info(k.t.Context(), d.Name); err == nil && info.Suspended && info.Live { // else it is gone, or not begun
			return true
		}
	}
	return false
}
