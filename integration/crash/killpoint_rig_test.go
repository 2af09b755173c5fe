package crash

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
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// killRig is drives, and a LUN on them that a verified writer is at work on while plexctl is killed again and again.
//
// Which LUNs there are is said by a text, the layout: "spare=1 web1=02" is a LUN spare on drive 1 and a mirror web1 on drives 0
// and 2, in the order of their names; "web1=0+" is one that was extended.
type killRig struct {
	*lab.Live
	seed    uint64
	brittle *lab.Brittle        // drive 1; nil where LUNs are tracked
	effects map[string][]string // of each operation that has run to its end, by its name
	copied  string              // a device that can be made a copy of drive 0; may be empty
	cut.Tally
}

// layout is the LUNs that there are, as this process knows them: of what another one has changed it knows after refresh.
func (k *killRig) layout() string {
	k.T.Helper()
	drives := map[string]int{}
	for i, path := range k.Drives {
		d, err := k.Provider.Drive(path)
		if err != nil {
			k.T.Fatal(err)
		}
		drives[d.ID.String()] = i
	}
	var luns []string
	for _, l := range k.Provider.LUNs() {
		record, err := l.Record()
		if err != nil {
			k.T.Fatal(err)
		}
		var on []string
		for _, p := range record.Copies() {
			on = append(on, strconv.Itoa(drives[p.Meta.Drive.String()]))
		}
		slices.Sort(on)
		text := record.Name + "=" + strings.Join(on, "")
		if record.Size.Bytes() > cut.KillLength {
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
	k.T.Helper()
	if k.layout() == want {
		return
	}
	for _, l := range k.Provider.LUNs() {
		if l.ID() == k.LUN.ID() {
			continue
		}
		lab.Must(k.T, l.Delete(k.T.Context()))
	}
	if k.LUN.Name() != cut.WebName {
		lab.Must(k.T, k.LUN.Rename(k.T.Context(), cut.WebName))
		k.writeOn()
	}
	have := plexesOf(k.layout(), cut.WebName)
	if strings.Contains(k.layout(), "+") {
		k.beginAnew()
		have = []int{0}
	}
	plexes := plexesOf(want, cut.WebName)
	for _, drive := range plexes {
		if !slices.Contains(have, drive) {
			k.AddOn(k.LUN, drive)
		}
	}
	for _, drive := range have {
		if !slices.Contains(plexes, drive) {
			k.RemoveFrom(k.LUN, drive)
		}
	}
	if spare := plexesOf(want, "spare"); spare != nil {
		k.mirroredOn("spare", spare)
	}
	if got := k.layout(); got != want {
		k.T.Fatalf("layout %q, want %q", got, want)
	}
}

// mirroredOn makes a LUN with plexes on drives.
func (k *killRig) mirroredOn(name string, drives []int) {
	k.T.Helper()
	l := k.Create(name, cut.KillLength, drives[0])
	for _, drive := range drives[1:] {
		k.AddOn(l, drive)
	}
}

// beginAnew replaces web1 by a new one on drive 0, and the writer by one that begins anew.
func (k *killRig) beginAnew() {
	k.T.Helper()
	if k.Writer != nil {
		k.Writer.Stop()
		k.Stall = max(k.Stall, lab.LatencyOf(k.Writer.Waits).Max)
		lab.Must(k.T, k.LUN.Delete(k.T.Context()))
	}
	k.LUN = k.Create(cut.WebName, cut.KillLength, 0)
	k.seed++
	k.Writer = &lab.Writer{Path: "/dev/mapper/plex-" + cut.WebName, Stamps: lab.Stamps{Seed: k.seed, Length: cut.KillLength}, Flags: unix.O_DSYNC}
	k.Writer.OnAck = func(uint64) { time.Sleep(3 * time.Millisecond) } // or nobody else gets to run in an emulated machine
	if !k.Track {                                                      // else it is zero
		lab.FillWith(k.T, k.Writer.Path, "\x00", cut.KillLength)
	}
	k.Writer.Start(k.T)
	k.More(5)
}

// settle brings every operation that this process knows of to its end, and waits until all plexes are equal by the kernel's word.
func (k *killRig) settle(recovers bool) {
	k.T.Helper()
	for _, l := range k.Provider.LUNs() {
		record, err := l.Record()
		lab.Must(k.T, err)
		if record.Scan != uuid.Nil {
			lab.Must(k.T, l.EndScan(k.T.Context()))
			continue
		}
		if recovers && k.health(l) == vds.HealthFailedRedundancy {
			k.End(l.Recover(k.T.Context()))
			continue
		}
		if record.Operation == nil {
			continue
		}
		if record.MaxRate != 0 {
			_ = l.SetRate(k.T.Context(), lun.Unlimited) // or it has just ended
		}
		k.End(l.Operation())
	}
	for _, l := range k.Provider.LUNs() {
		lab.WaitFor(k.T, l.Name()+" to be healthy", lab.SyncLimit, func() bool {
			k.Refresh()
			return k.health(l) == vds.HealthHealthy
		})
	}
	k.Refresh()
}

// portrait is how everything stands, for whoever looks for the reason of a failure.
func (k *killRig) portrait() string {
	status, _ := lab.TryTool(k.T, "plexctl", "status") // its exit status is that of the LUNs
	devices, _ := lab.TryTool(k.T, "dmsetup", "table")
	legs, _ := lab.TryTool(k.T, "dmsetup", "status")
	return status + devices + legs
}

// writeOn lets the writer go on if it was stopped, under the name that web1 has now, and sees it write.
func (k *killRig) writeOn() {
	k.T.Helper()
	k.Refresh()
	var err error
	k.LUN, err = k.Provider.LUN(k.LUN.ID().String()) // which has the name
	lab.Must(k.T, err)
	k.Writer.Path = "/dev/mapper/plex-" + k.LUN.Name()
	if k.Writer.Stopped.Load() {
		k.Writer.GoOn(k.T)
	}
	k.More(2)
}

// health is how a LUN stands.
func (k *killRig) health(l *lun.LUN) vds.Health {
	k.T.Helper()
	props, err := l.Properties(k.T.Context())
	lab.Must(k.T, err)
	return props.Health
}

// verify stops the writer, looks at everything, and lets the writer go on. It returns what is wrong: with the data, and with what
// is there that should not be.
func (k *killRig) verify() (mismatches, leaks []string) {
	k.T.Helper()
	k.Writer.Stop()
	if k.Writer.Err != nil {
		mismatches = append(mismatches, fmt.Sprintf("writer: %v", k.Writer.Err))
	}
	if err := k.Writer.Check(k.Writer.Path, k.Writer.Acked.Load(), 0); err != nil {
		mismatches = append(mismatches, fmt.Sprintf("%d acknowledged writes: %v", k.Writer.Acked.Load(), err))
	}
	mismatches = append(mismatches, k.unequal()...)
	leaks = k.leaks()
	for deadline := time.Now().Add(2 * time.Second); len(leaks) > 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		leaks = k.leaks() // udevd takes its time to remove names, and a process to end
	}
	k.Stall = max(k.Stall, lab.LatencyOf(k.Writer.Waits).Max)
	k.Writer.Waits = nil
	k.Writer.GoOn(k.T)
	return mismatches, leaks
}

// unequal says which LUNs have plexes that differ.
func (k *killRig) unequal() []string {
	k.T.Helper()
	var found []string
	for _, l := range k.Provider.LUNs() {
		record, err := l.Record()
		lab.Must(k.T, err)
		if sums := k.Legs(record); len(slices.Compact(sums)) > 1 {
			found = append(found, fmt.Sprintf("plexes of %s differ", record.Name))
		}
	}
	return found
}

// leaks are devices and names that belong to no LUN, LUNs without what belongs to them, and a plexctl that has not ended.
func (k *killRig) leaks() []string {
	k.T.Helper()
	list, err := k.Control.List(k.T.Context())
	lab.Must(k.T, err)
	var found []string
	names, devices := map[string]bool{}, map[string]int{}
	for _, d := range list {
		names[d.Name] = true
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		devices[d.UUID[:min(len(d.UUID), len("PLEX-")+36)]]++
		if info, err := k.Control.Info(k.T.Context(), d.Name); err != nil || info.Suspended || !info.Live || info.Inactive {
			found = append(found, fmt.Sprintf("device %+v, %v", info, err))
		}
	}
	for _, l := range k.Provider.LUNs() {
		record, err := l.Record()
		lab.Must(k.T, err)
		want := 1
		if n := len(record.Copies()); n > 1 || record.Tracked() {
			want += 2 * n
		}
		id := "PLEX-" + record.ID.String()
		if devices[id] != want {
			found = append(found, fmt.Sprintf("%s has %d devices, want %d", record.Name, devices[id], want))
		}
		delete(devices, id)
		if info, err := k.Control.Info(k.T.Context(), "plex-"+record.Name); err != nil || !leadsTo("/dev/mapper/plex-"+record.Name, info.Dev) {
			found = append(found, fmt.Sprintf("/dev/mapper/plex-%s does not lead to its device", record.Name))
		}
	}
	for id, n := range devices {
		found = append(found, fmt.Sprintf("%d devices %s… of no LUN", n, id))
	}
	for _, path := range append(lab.Glob(k.T, "/dev/mapper/plex-*"), lab.Glob(k.T, "/dev/mapper/.plex-*")...) {
		if !names[filepath.Base(path)] {
			found = append(found, path+" leads nowhere")
		}
	}
	return append(found, lab.Processes(k.T, "plexctl")...)
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
	k.T.Helper()
	for deadline := time.Now().Add(goesOnLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if !k.anySuspended() {
			return true
		}
	}
	return false
}

// anySuspended reports whether a device of plexctl is suspended this very moment.
func (k *killRig) anySuspended() bool {
	k.T.Helper()
	list, err := k.Control.List(k.T.Context())
	lab.Must(k.T, err)
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		if info, err := k.Control.Info(k.T.Context(), d.Name); err == nil && info.Suspended && info.Live { // else it is gone, or not begun
			return true
		}
	}
	return false
}
