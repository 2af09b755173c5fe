package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// live is a LUN that a verified writer is at work on while a test changes it.
type live struct {
	*rig
	l *lun.LUN
	w *writer
}

// liveOn makes a LUN on a drive and starts a writer on it.
func (r *rig) liveOn(name string, length size.Bytes, drive int) *live {
	r.t.Helper()
	l := &live{rig: r, l: r.create(name, length, drive)}
	l.w = startWriter(r.t, "/dev/mapper/plex-"+name, length)
	l.more(20)
	return l
}

// more waits until the writer has made so many more writes.
func (l *live) more(writes uint64) {
	l.t.Helper()
	from := l.w.acked.Load()
	waitFor(l.t, "the writer", 30*time.Second, func() bool { return l.w.acked.Load() >= from+writes || l.w.failed() })
	if l.w.failed() {
		l.t.Fatalf("writer: %v", l.w.err)
	}
}

// failed reports whether w has ended without having been stopped.
func (w *writer) failed() bool {
	select {
	case <-w.ended:
		return !w.stopped.Load()
	default:
		return false
	}
}

// goOn starts w again where it was stopped.
func (w *writer) goOn(t testing.TB) {
	t.Helper()
	w.stopped.Store(false)
	w.start(t)
}

// verify stops the writer, and fails the test unless the LUN has so many plexes, all whole and the same byte for byte, holds
// what was acknowledged, and has no device too many. Then the writer goes on.
func (l *live) verify(step string, plexes int) {
	l.t.Helper()
	l.w.stop()
	if l.w.err != nil {
		l.t.Fatalf("%s: writer: %v", step, l.w.err)
	}
	l.w.verify(l.t, l.w.path)
	l.whole(step, l.l.Name(), plexes)
	if l.t.Failed() {
		l.t.Fatalf("after: %s", step)
	}
	l.w.goOn(l.t)
}

// whole fails the test unless the named LUN is active and healthy, with so many plexes that are equal, by their bytes and by
// the kernel's word. Nobody may write to it.
func (r *rig) whole(step, name string, plexes int) {
	r.t.Helper()
	record := r.record(name)
	if len(record.Copies()) != plexes {
		r.t.Errorf("%s: %s has %d plexes, want %d", step, name, len(record.Copies()), plexes)
	}
	l, err := r.p.LUN(name)
	if err != nil {
		r.t.Fatal(err)
	}
	props, err := l.Properties(r.t.Context())
	if err != nil || props.Health != vds.HealthHealthy || props.Status != vds.StatusOnline || props.Problem != nil {
		r.t.Errorf("%s: %s is %s and %s: %v, %v, operation %+v", step, name, props.Health, props.Status, props.Problem, err, record.Operation)
	}
	r.exactDevices(step, record.ID, name, plexes)
	if len(record.Copies()) < 2 {
		return
	}
	r.equalLegs(record)
	if n := r.mismatches(name); n != 0 {
		r.t.Errorf("%s: the kernel finds %d sectors of %s that differ", step, n, name)
	}
}

// exactDevices fails the test unless the kernel has the devices of a LUN with so many plexes (0: not active) and no other, all going, and
// a name in /dev/mapper for the LUN.
func (r *rig) exactDevices(step string, id uuid.UUID, name string, plexes int) {
	r.t.Helper()
	want := min(1, plexes)
	if plexes > 1 || r.isTracked(id) {
		want += 2 * plexes
	}
	list, err := r.control.List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-"+id.String()) {
			continue
		}
		names = append(names, d.Name)
		info, err := r.control.Info(r.t.Context(), d.Name)
		if err != nil || info.Suspended || !info.Live || info.Inactive {
			r.t.Errorf("%s: device %+v, %v", step, info, err)
		}
	}
	waitFor(r.t, "the name of "+name, 5*time.Second, func() bool {
		_, err := os.Stat("/dev/mapper/plex-" + name)
		return (err == nil) == (plexes > 0)
	})
	if len(names) != want {
		r.t.Errorf("%s: %s has %d devices, want %d: %s", step, name, len(names), want, strings.Join(names, " "))
	}
}

// isTracked reports whether a LUN is tracked.
func (r *rig) isTracked(id uuid.UUID) bool {
	r.t.Helper()
	l, err := r.p.LUN(id.String())
	if err != nil {
		return false
	}
	record, err := l.Record()
	return err == nil && record.Tracked()
}

// mismatches makes the kernel compare the plexes of a LUN and returns how many sectors it found different.
func (r *rig) mismatches(name string) uint64 {
	r.t.Helper()
	var err error
	waitFor(r.t, "the kernel to begin a check", 10*time.Second, func() bool {
		_, err = r.control.Message(r.t.Context(), "plex-"+name, 0, "check")
		return err == nil
	})
	var seen dm.RaidStatus
	waitFor(r.t, "the end of the check", syncLimit, func() bool {
		seen = r.raidStatus(name)
		return seen.Action == dm.ActionIdle
	})
	return seen.Mismatches
}

// raidStatus is what the kernel says of a LUN's mirror.
func (r *rig) raidStatus(name string) dm.RaidStatus {
	r.t.Helper()
	status, err := r.control.Status(r.t.Context(), "plex-"+name)
	if err != nil || len(status.Targets) != 1 {
		r.t.Fatalf("status of %s: %+v, %v", name, status, err)
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	if err != nil {
		r.t.Fatal(err)
	}
	return raid
}

// end waits for an operation, which must succeed.
func (r *rig) end(op *resync.Async, err error) {
	r.t.Helper()
	if err == nil {
		err = op.Wait(within(r.t, syncLimit))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// addOn gives a LUN a new plex on a drive and waits until it is filled.
func (r *rig) addOn(l *lun.LUN, drive int) {
	r.t.Helper()
	r.end(l.AddNewPlex(r.t.Context(), []string{r.drives[drive]}, lun.AttachOptions{}))
}

// plexOn is the plex of a LUN that lies on a drive.
func (r *rig) plexOn(l *lun.LUN, drive int) uuid.UUID {
	r.t.Helper()
	id, err := l.Plex(r.drives[drive])
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// removeFrom takes the plex on a drive away from a LUN.
func (r *rig) removeFrom(l *lun.LUN, drive int) {
	r.t.Helper()
	r.end(l.RemovePlex(r.t.Context(), r.plexOn(l, drive)))
}

// free is the room on a drive.
func (r *rig) free(drive int) size.Sectors {
	r.t.Helper()
	r.refresh()
	d, err := r.p.Drive(r.drives[drive])
	if err != nil {
		r.t.Fatal(err)
	}
	return d.Free
}

// writtenTo is how much has been written to a block device since it is there.
func writtenTo(t testing.TB, device string) size.Bytes { return blockStat(t, device, 6) }

// blockStat is a field of a block device's statistics that counts sectors.
func blockStat(t testing.TB, device string, field int) size.Bytes {
	t.Helper()
	device, err := filepath.EvalSymlinks(device)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/sys/class/block/" + filepath.Base(device) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	sectors, err := strconv.ParseUint(strings.Fields(string(text))[field], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return size.Sectors(sectors).Bytes()
}
