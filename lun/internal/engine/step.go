package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
)

// Commit makes a change final.
type Commit struct {
	Tx    *host.Transaction
	Text  string
	Final bool // its failure takes nothing back
}

func (s Commit) String() string { return "commit: " + s.Text }

func (s Commit) run(ctx context.Context, e *Engine) error { return e.Commit(ctx, s.Tx) }

// WriteMeta writes the current metadata of a LUN.
type WriteMeta struct {
	LUN     catalog.LUN
	Slots   []raidmeta.Slot
	Purpose string
}

func (s WriteMeta) String() string { return "write metadata of " + s.LUN.Name + ": " + s.Purpose }

func (s WriteMeta) run(ctx context.Context, e *Engine) error {
	return e.WriteSlots(ctx, s.LUN, s.Slots)
}

// PrepareStart writes the metadata with which a mirror is started. No table may use the mirror's metadata. If a plex turns out to
// be an earlier copy of itself, an operation that fills it becomes part of the record that Tx commits.
type PrepareStart struct {
	LUN catalog.LUN // by its present record
	Tx  *host.Transaction
}

func (s PrepareStart) String() string { return "ready metadata: copy what may differ in " + s.LUN.Name }

func (s PrepareStart) run(ctx context.Context, e *Engine) error {
	reads, err := e.ReadSlots(ctx, s.LUN)
	if err != nil {
		return err
	}
	roles := e.Roles(s.LUN)
	slots, err := raid1.Start(s.LUN, roles, reads)
	if err != nil {
		return err
	}
	next := &s.Tx.Put[0]
	if old := raid1.Weigh(s.LUN, roles, reads).OldPlexes(s.LUN); len(old) > 0 {
		e.Log.Warn("an earlier copy of a plex is filled anew", "lun", s.LUN.Name, "plexes", old)
		*next = record.Refill(*next, old, e.Now)
	}
	return e.WriteSlots(ctx, *next, slots)
}

// begin is the steps that begin a run of mirror l, which is not active: its metadata, and then the record that names the run. A
// start without a plex that counts begins a new history, too.
// There is no such record if none of the drives can be written by plexctl: the run is then one that was never committed.
func (e *Engine) begin(l catalog.LUN) (PrepareStart, layout.Step) {
	roles := e.Roles(l)
	next := e.Next(record.NewRun(l, roles.Taking(), rand.Uint64()))
	if roles.Has(record.Missing) {
		next = record.Fork(next, l, uuid.New())
	}
	tx := &host.Transaction{Put: []catalog.LUN{next}}
	if !slices.ContainsFunc(l.Drives(), e.TakesCommits) {
		return PrepareStart{l, tx}, nil
	}
	return PrepareStart{l, tx}, Commit{Tx: tx, Text: l.Name + " starts"}
}

// RewriteMeta writes the metadata of a LUN from its record alone. It ignores the metadata on the drives.
type RewriteMeta struct{ LUN catalog.LUN }

func (s RewriteMeta) String() string {
	return "write metadata of " + s.LUN.Name + ": copy everything from its first plex that is here"
}

func (s RewriteMeta) run(ctx context.Context, e *Engine) error {
	slots, err := raid1.FromRecord(s.LUN, e.Roles(s.LUN))
	if err != nil {
		return err
	}
	return e.WriteSlots(ctx, s.LUN, slots)
}

// Invalidate makes the current metadata of plexes of a LUN unusable, so that everything is copied at its next start.
type Invalidate struct {
	Name   string
	Plexes []catalog.Plex
}

func (s Invalidate) String() string {
	return "give up the metadata of " + s.Name + " that no table has used"
}

func (s Invalidate) run(ctx context.Context, e *Engine) error { return e.Invalidate(ctx, s.Plexes) }

// Wipe zeroes the first and the last MiB of every plex of a LUN. The rest of its plexes may differ. At the start of a mirror
// everything is copied from the first plex.
type Wipe struct{ LUN catalog.LUN }

func (s Wipe) String() string { return "zero the first and the last MiB of " + s.LUN.Name }

func (s Wipe) run(ctx context.Context, e *Engine) error {
	if err := e.Wipe(ctx, s.LUN); err != nil || len(s.LUN.Plexes) == 1 {
		return err
	}
	return RewriteMeta(s).run(ctx, e)
}

// ZeroMeta zeroes the extent for the metadata of a LUN's first plex.
type ZeroMeta struct{ LUN catalog.LUN }

func (s ZeroMeta) String() string { return "zero the room for the metadata of " + s.LUN.Name }

func (s ZeroMeta) run(ctx context.Context, e *Engine) error { return e.Zero(ctx, s.LUN.Plexes[0].Meta) }

// ZeroTracked zeroes the extents of a new tracked LUN. It stops when ctx ends.
type ZeroTracked struct{ LUN catalog.LUN }

func (s ZeroTracked) String() string { return "zero " + s.LUN.Name }

func (s ZeroTracked) run(ctx context.Context, e *Engine) error {
	for _, p := range s.LUN.Copies() {
		if err := e.ZeroRuns(ctx, layout.RunsOf(p.Data, s.LUN.Size)); err != nil {
			return err
		}
	}
	return nil
}

// NoteBlank writes the metadata of a new tracked LUN, which is all zeros.
type NoteBlank struct{ LUN catalog.LUN }

func (s NoteBlank) String() string { return "note that nothing is written to " + s.LUN.Name }

func (s NoteBlank) run(ctx context.Context, e *Engine) error {
	for _, p := range s.LUN.Copies() {
		if err := e.Zero(ctx, p.Meta); err != nil {
			return err
		}
	}
	slots, err := raid1.Born(s.LUN)
	if err != nil {
		return err
	}
	return e.WriteSlots(ctx, s.LUN, slots)
}

// ZeroGrowth zeroes the new part of a tracked LUN that grows.
type ZeroGrowth struct {
	LUN  catalog.LUN // after
	From size.Sectors
}

func (s ZeroGrowth) String() string { return "zero the new part of " + s.LUN.Name }

func (s ZeroGrowth) run(ctx context.Context, e *Engine) error {
	for _, p := range s.LUN.Copies() {
		if err := e.ZeroRuns(ctx, layout.RunsAfter(layout.RunsOf(p.Data, s.LUN.Size), s.From)); err != nil {
			return err
		}
	}
	return nil
}

// ForgetScan writes an empty map for the LUN's scan: nothing is known to be zero.
type ForgetScan struct{ LUN catalog.LUN }

func (s ForgetScan) String() string { return "note that nothing is known of " + s.LUN.Name }

func (s ForgetScan) run(ctx context.Context, e *Engine) error {
	return e.WriteMap(ctx, s.LUN, raid1.AllRegions(s.LUN))
}

// EndRun ends the run of a stopped mirror in its metadata, and records there that its plexes are in sync, if they are. Then Next is
// the record to commit.
type EndRun struct {
	LUN   catalog.LUN
	Clean bool // its plexes may be in sync
	Next  *catalog.LUN
}

func (s EndRun) String() string {
	return "note that " + s.LUN.Name + " was stopped, and that its plexes are equal, if they are"
}

func (s EndRun) run(ctx context.Context, e *Engine) error {
	next, ended, err := e.EndRun(ctx, s.LUN, s.Clean)
	if ended {
		*s.Next = next
	}
	return err
}

// FailIO makes all I/O of a device fail.
type FailIO struct {
	Device     layout.Observed
	Visibility dm.Visibility
}

func (s FailIO) String() string { return "fail all I/O of " + s.Device.Name }

func (s FailIO) run(ctx context.Context, e *Engine) error {
	dead := dm.Table{{Length: s.Device.Table.Size(), Target: dm.Other{Name: layout.ErrorTarget}}}
	if err := e.Kernel.Load(ctx, s.Device.Name, dead); err != nil {
		return err
	}
	return e.Kernel.Resume(ctx, s.Device.Name, s.Visibility)
}

// Mark writes into the kernel's log where the copy of a LUN's operation begins, or that it goes on with other devices. A
// failure is only logged: without the marker, the plexes are compared at the end.
type Mark struct {
	LUN    catalog.LUN // its private devices exist
	Begins bool
}

func (s Mark) String() string {
	return "note in the kernel's log that a copy of " + s.LUN.Name + " begins"
}

func (s Mark) run(ctx context.Context, e *Engine) error { //nolint:unparam // a step
	m := dm.Marker{Operation: s.LUN.Operation.ID.String(), Begins: s.Begins}
	for i, role := range e.Roles(s.LUN) {
		if dev, ok := e.At.Nodes[layout.DataUUID(s.LUN, s.LUN.Plexes[i])]; ok && !role.Excluded() && !role.IsTarget() {
			m.Legs = append(m.Legs, dev)
		}
	}
	if err := e.Kernel.Mark(ctx, m); err != nil {
		e.Log.DebugContext(ctx, "the kernel's log will not tell how the copy went", "lun", s.LUN.Name, "error", err)
	}
	return nil
}

// Label makes a device a drive.
type Label struct {
	Info  blockdev.Info
	Label catalog.Label
}

func (s Label) String() string {
	return fmt.Sprintf("zero the first and the last MiB of %s, and make it drive %s", s.Info.Path, s.Label.Drive)
}

func (s Label) run(ctx context.Context, e *Engine) error { return e.Label(ctx, s.Info, s.Label) }

// Unlabel removes the label from a drive.
type Unlabel struct{ Drive *host.Drive }

func (s Unlabel) String() string { return "wipe label and catalog of " + s.Drive.Info.Path }

func (s Unlabel) run(ctx context.Context, e *Engine) error { return e.Unlabel(ctx, s.Drive) }

// GrowDrive makes a drive as large as its device.
type GrowDrive struct{ Drive *host.Drive }

func (s GrowDrive) String() string {
	return fmt.Sprintf("write a copy of label and catalog at the new end of %s, then its new size of %s", s.Drive.Info.Path, s.Drive.Info.Size)
}

func (s GrowDrive) run(ctx context.Context, e *Engine) error { return e.Grow(ctx, s.Drive) }

// RepairDrive writes the lost label of a drive anew.
type RepairDrive struct {
	Drive *host.Drive
	Wipe  bool // what others have written at both ends goes
}

func (s RepairDrive) String() string {
	text := "write the label of " + s.Drive.Info.Path + " anew from its copy"
	if s.Wipe {
		text = "zero both ends of " + s.Drive.Info.Path + ", and " + text
	}
	return text
}

func (s RepairDrive) run(ctx context.Context, e *Engine) error { return e.Repair(ctx, s.Drive, s.Wipe) }

// Relabel writes a drive's label anew.
type Relabel struct {
	Drive *host.Drive
	Label catalog.Label
	Text  string
}

func (s Relabel) String() string { return s.Text }

func (s Relabel) run(ctx context.Context, e *Engine) error { return e.Relabel(ctx, s.Drive, s.Label) }
