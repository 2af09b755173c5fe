package lab

import (
	"os"
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

// Live is a LUN that a verified writer is at work on while a test changes it.
type Live struct {
	*Rig
	LUN    *lun.LUN
	Writer *Writer
}

// LiveOn makes a LUN on a drive and starts a writer on it.
func (r *Rig) LiveOn(name string, length size.Bytes, drive int) *Live {
	r.T.Helper()
	l := &Live{Rig: r, LUN: r.Create(name, length, drive)}
	l.Writer = StartWriter(r.T, "/dev/mapper/plex-"+name, length)
	l.More(20)
	return l
}

// More waits until the writer has made so many more writes.
func (l *Live) More(writes uint64) {
	l.T.Helper()
	from := l.Writer.Acked.Load()
	WaitFor(l.T, "the writer", 30*time.Second, func() bool { return l.Writer.Acked.Load() >= from+writes || l.Writer.Failed() })
	if l.Writer.Failed() {
		l.T.Fatalf("writer: %v", l.Writer.Err)
	}
}

// Failed reports whether w has ended without having been stopped.
func (w *Writer) Failed() bool {
	select {
	case <-w.Ended:
		return !w.Stopped.Load()
	default:
		return false
	}
}

// GoOn starts w again where it was stopped.
func (w *Writer) GoOn(t testing.TB) {
	t.Helper()
	w.Stopped.Store(false)
	w.Start(t)
}

// Verify stops the writer, and fails the test unless the LUN has so many plexes, all whole and the same byte for byte, holds
// what was acknowledged, and has no device too many. Then the writer goes on.
func (l *Live) Verify(step string, plexes int) {
	l.T.Helper()
	l.Writer.Stop()
	if l.Writer.Err != nil {
		l.T.Fatalf("%s: writer: %v", step, l.Writer.Err)
	}
	l.Writer.Verify(l.T, l.Writer.Path)
	l.Whole(step, l.LUN.Name(), plexes)
	if l.T.Failed() {
		l.T.Fatalf("after: %s", step)
	}
	l.Writer.GoOn(l.T)
}

// Whole fails the test unless the named LUN is active and healthy, with so many plexes that are equal, by their bytes and by
// the kernel's word. Nobody may write to it.
func (r *Rig) Whole(step, name string, plexes int) {
	r.T.Helper()
	record := r.Record(name)
	if len(record.Copies()) != plexes {
		r.T.Errorf("%s: %s has %d plexes, want %d", step, name, len(record.Copies()), plexes)
	}
	l, err := r.Provider.LUN(name)
	if err != nil {
		r.T.Fatal(err)
	}
	props, err := l.Properties(r.T.Context())
	if err != nil || props.Health != vds.HealthHealthy || props.Status != vds.StatusOnline || props.Problem != nil {
		r.T.Errorf("%s: %s is %s and %s: %v, %v, operation %+v", step, name, props.Health, props.Status, props.Problem, err, record.Operation)
	}
	r.ExactDevices(step, record.ID, name, plexes)
	if len(record.Copies()) < 2 {
		return
	}
	r.EqualLegs(record)
	if n := r.Mismatches(name); n != 0 {
		r.T.Errorf("%s: the kernel finds %d sectors of %s that differ", step, n, name)
	}
}

// ExactDevices fails the test unless the kernel has the devices of a LUN with so many plexes (0: not active) and no other, all going, and
// a name in /dev/mapper for the LUN.
func (r *Rig) ExactDevices(step string, id uuid.UUID, name string, plexes int) {
	r.T.Helper()
	want := min(1, plexes)
	if plexes > 1 || r.isTracked(id) {
		want += 2 * plexes
	}
	list, err := r.Control.List(r.T.Context())
	if err != nil {
		r.T.Fatal(err)
	}
	var names []string
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-"+id.String()) {
			continue
		}
		names = append(names, d.Name)
		info, err := r.Control.Info(r.T.Context(), d.Name)
		if err != nil || info.Suspended || !info.Live || info.Inactive {
			r.T.Errorf("%s: device %+v, %v", step, info, err)
		}
	}
	WaitFor(r.T, "the name of "+name, 5*time.Second, func() bool {
		_, err := os.Stat("/dev/mapper/plex-" + name)
		return (err == nil) == (plexes > 0)
	})
	if len(names) != want {
		r.T.Errorf("%s: %s has %d devices, want %d: %s", step, name, len(names), want, strings.Join(names, " "))
	}
}

// isTracked reports whether a LUN is tracked.
func (r *Rig) isTracked(id uuid.UUID) bool {
	r.T.Helper()
	l, err := r.Provider.LUN(id.String())
	if err != nil {
		return false
	}
	record, err := l.Record()
	return err == nil && record.Tracked()
}

// Mismatches makes the kernel compare the plexes of a LUN and returns how many sectors it found different.
func (r *Rig) Mismatches(name string) uint64 {
	r.T.Helper()
	var err error
	WaitFor(r.T, "the kernel to begin a check", 10*time.Second, func() bool {
		_, err = r.Control.Message(r.T.Context(), "plex-"+name, 0, "check")
		return err == nil
	})
	var seen dm.RaidStatus
	WaitFor(r.T, "the end of the check", SyncLimit, func() bool {
		seen = r.RaidStatus(name)
		return seen.Action == dm.ActionIdle
	})
	return seen.Mismatches
}

// IsSuspended reports whether a LUN's device is suspended.
func (r *Rig) IsSuspended(name string) bool {
	r.T.Helper()
	info, err := r.Control.Info(r.T.Context(), "plex-"+name)
	Must(r.T, err)
	return info.Suspended
}

// RaidStatus is what the kernel says of a LUN's mirror.
func (r *Rig) RaidStatus(name string) dm.RaidStatus {
	r.T.Helper()
	status, err := r.Control.Status(r.T.Context(), "plex-"+name)
	if err != nil || len(status.Targets) != 1 {
		r.T.Fatalf("status of %s: %+v, %v", name, status, err)
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	if err != nil {
		r.T.Fatal(err)
	}
	return raid
}

// End waits for an operation, which must succeed.
func (r *Rig) End(op *resync.Async, err error) {
	r.T.Helper()
	if err == nil {
		err = op.Wait(Within(r.T, SyncLimit))
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

// AddOn gives a LUN a new plex on a drive and waits until it is filled.
func (r *Rig) AddOn(l *lun.LUN, drive int) {
	r.T.Helper()
	r.End(l.AddNewPlex(r.T.Context(), []string{r.Drives[drive]}, lun.AttachOptions{}))
}

// PlexOn is the plex of a LUN that lies on a drive.
func (r *Rig) PlexOn(l *lun.LUN, drive int) uuid.UUID {
	r.T.Helper()
	id, err := l.Plex(r.Drives[drive])
	if err != nil {
		r.T.Fatal(err)
	}
	return id
}

// RemoveFrom takes the plex on a drive away from a LUN.
func (r *Rig) RemoveFrom(l *lun.LUN, drive int) {
	r.T.Helper()
	r.End(l.RemovePlex(r.T.Context(), r.PlexOn(l, drive)))
}

// Free is the room on a drive.
func (r *Rig) Free(drive int) size.Sectors {
	r.T.Helper()
	r.Refresh()
	d, err := r.Provider.Drive(r.Drives[drive])
	if err != nil {
		r.T.Fatal(err)
	}
	return d.Free
}

// Down stops the writer and takes the LUN down, or its devices away behind plexctl's back.
func (l *Live) Down(crash bool) {
	l.T.Helper()
	l.Writer.Stop()
	if crash {
		l.Crash(l.LUN.Name())
		return
	}
	l.Run("deactivate")
}
