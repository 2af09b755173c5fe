package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Window swaps the tables of a LUN in three calls: suspend, look, resume. If a leg has failed that the new table counts on, it
// resumes the LUN with the old table.
type Window struct {
	Freeze bool // a file system on the LUN is made clean and frozen meanwhile
	Node   layout.Node
	Conv   raid1.Conversion
	Fill   *ZeroFill // zeroes regions of the new plexes before the window; may be nil
}

func (s Window) String() string {
	if s.Freeze {
		return "freeze and suspend " + s.Node.Name + ", see that its legs are in order, and activate the new table"
	}
	return "suspend " + s.Node.Name + ", see that its legs are in order, and activate the new table"
}

func (s Window) run(ctx context.Context, e *Engine) error {
	if err := e.Kernel.Suspend(ctx, s.Node.Name, s.Freeze); err != nil {
		if s.Freeze && errors.Is(err, dm.ErrBusy) { // on 6.1; 6.12 freezes it once more
			err = &vds.Error{
				Code: vds.ErrDeviceInUse, Reason: "a file system on it is frozen already, by `fsfreeze` or a backup program", Err: err,
				Hint: "wait until it is thawed, or run `fsfreeze --unfreeze` on its mount point, and try again",
			}
		}
		return errors.Join(err, e.abortSwap(ctx, s.Node))
	}
	health, err := s.check(ctx, e)
	if err == nil && s.Conv.Carries() {
		err = s.carry(ctx, e, health)
	}
	if err != nil {
		return errors.Join(err, e.abortSwap(ctx, s.Node))
	}
	if err := e.Kernel.Resume(ctx, s.Node.Name, s.Node.Visibility); err != nil {
		return err
	}
	return s.stands(ctx, e)
}

// stands returns an error if the LUN runs on with its old table, because the guard has overtaken this process. If the kernel does not
// say which table is live, the error is a cutOff.
func (s Window) stands(ctx context.Context, e *Engine) error {
	table, err := e.Kernel.Table(ctx, s.Node.Name)
	if err != nil {
		why := record.LUNFault(fault.Code(err), "change", s.Conv.LUN.Name,
			"the kernel does not say whether the new table is live", "run `plexctl assemble`, which completes the change")
		why.Err = err
		return cutOff{why}
	}
	if e.serves(s.Conv.LUN, table) {
		return nil
	}
	return record.LUNFault(vds.ErrProviderFailure, "change", s.Conv.LUN.Name,
		"this process stood still while the LUN was suspended, so its guard has resumed the LUN with the old table", "try again")
}

// cutOff is an error of a change that may be done or not. The change must not be taken back: the new table may have begun to fill
// plexes, which lose what they held. Nor may it go on: the old table may still write to plexes that leave. So it ends there, as if the
// process had died, and the next command completes it.
type cutOff struct{ error }

func (c cutOff) Unwrap() error { return c.error }

// abortSwap resumes a LUN with its live table. It drops the waiting table, whose metadata no other table uses. If it cannot, the LUN
// stays suspended: a resume would make the waiting table live. See restore, which comes next.
func (e *Engine) abortSwap(ctx context.Context, n layout.Node) error {
	if err := e.Kernel.Clear(ctx, n.Name); err != nil {
		return err
	}
	return e.Kernel.Resume(ctx, n.Name, n.Visibility)
}

// check looks at the legs of the suspended mirror, and returns their health by data device.
func (s Window) check(ctx context.Context, e *Engine) (map[devno.No]dm.LegHealth, error) {
	if !s.Conv.Was.Mirror {
		return nil, nil
	}
	table, err := e.Kernel.Table(ctx, s.Node.Name)
	if err != nil {
		return nil, err
	}
	status, err := e.Kernel.Status(ctx, s.Node.Name)
	if err != nil {
		return nil, err
	}
	raid, ok := layout.SoleTarget[dm.Raid1](table)
	if !ok {
		return nil, raid1.ForeignTable(s.Conv.LUN)
	}
	seen, err := host.RaidStatusOf(s.Conv.LUN, status)
	if err != nil {
		return nil, err
	}
	health := map[devno.No]dm.LegHealth{}
	for i, leg := range raid.Legs {
		if i < len(seen.Health) {
			health[leg.Data] = seen.Health[i]
		}
	}
	for _, dev := range s.Conv.Counted() {
		if letter := health[dev]; letter != dm.LegInSync && letter != dm.LegSyncing {
			return nil, record.LUNFault(vds.ErrObjectStatusFailed, "change", s.Conv.LUN.Name,
				fmt.Sprintf("its plex %s has just failed", s.Conv.PlexOn(dev)), "nothing has changed; see `plexctl status`")
		}
	}
	return health, nil
}

// carry copies the bits that are left in the old metadata to the new current slots, while the LUN is suspended.
func (s Window) carry(ctx context.Context, e *Engine, health map[devno.No]dm.LegHealth) error {
	var bits raidmeta.Bits
	if s.Fill != nil {
		bits = s.Fill.toCopy(ctx, e)
	} else {
		bits = s.Conv.Left(e.ReadAgain(ctx, s.Conv.LUN, s.Conv.Was), health)
	}
	if bits == nil {
		return nil // all are set there
	}
	slots, err := s.Conv.Slots(bits)
	if err != nil {
		return err
	}
	return e.WriteBitmaps(ctx, s.Conv.LUN, slots, s.Conv.InSync)
}

// ZeroFill runs before a swap. The drives zero those regions of the new plexes that are probably zero on the source, so that
// the kernel need not copy them. No live table uses the new plexes yet. The window finds out which of these regions are zero on
// both sides.
type ZeroFill struct {
	Conv  raid1.Conversion
	Zeros host.ZeroMap
	Tx    *host.Transaction // its Ruined is set when zeroing begins

	zeroed raidmeta.Bits // the regions that run has zeroed
}

func (s *ZeroFill) String() string {
	return "have its drive zero what " + s.Conv.LUN.Name + " gets, so that only what was written has to be copied"
}

// run returns no error: after a failure the kernel copies everything, and reports a drive that fails then.
func (s *ZeroFill) run(ctx context.Context, e *Engine) error { //nolint:unparam // a step
	regions := s.unwritten(ctx, e)
	regions.Or(s.Zeros.Candidates(ctx, s.Conv.LUN))
	s.Tx.Ruined = true
	for _, p := range s.Conv.New {
		if err := e.ZeroRegions(ctx, s.Conv.LUN, p, regions); err != nil {
			e.Log.WarnContext(ctx, "everything is copied: the drive has not zeroed", "lun", s.Conv.LUN.Name, "plex", p.ID, "error", err)
			return nil
		}
	}
	s.zeroed = regions
	return nil
}

func (s *ZeroFill) unwritten(ctx context.Context, e *Engine) raidmeta.Bits {
	if !s.Conv.LUN.Tracked() {
		return raid1.NoRegions(s.Conv.LUN)
	}
	return s.Conv.Unwritten(e.ReadAgain(ctx, s.Conv.LUN, s.Conv.Was))
}

// toCopy is the regions that new plexes lack; nil means all. The LUN must be suspended.
func (s *ZeroFill) toCopy(ctx context.Context, e *Engine) raidmeta.Bits {
	if s.zeroed == nil {
		return nil
	}
	same := s.unwritten(ctx, e)
	same.Or(s.Zeros.Verified(ctx, s.Conv.LUN))
	bits := raid1.AllRegions(s.Conv.LUN)
	for i := range same {
		bits[i] &^= same[i] & s.zeroed[i] // zero on both sides
	}
	return bits
}

// Activate readies and activates a LUN that a change gave back or made. Its failure undoes nothing: the next Assemble activates
// the LUN.
type Activate struct {
	LUN   catalog.LUN
	Steps []layout.Step
}

func (s Activate) String() string { return "activate " + s.LUN.Name }

func (s Activate) run(ctx context.Context, e *Engine) error { //nolint:unparam // a step
	err := errors.New("its drives cannot be written, so it is no LUN any more")
	if _, ok := e.Record(s.LUN.ID); ok {
		err = e.Run(ctx, s.Steps)
	}
	if err != nil {
		e.Log.Warn("activate", "lun", s.LUN.Name, "error", fault.Undo(err, e.TearDown(ctx, s.LUN)))
	}
	return nil
}

// NewActivate is the step that readies and activates l. It wipes l first if the record says so.
func (e *Engine) NewActivate(l catalog.LUN) Activate {
	var steps []layout.Step
	if l.Wipe {
		clean := e.Next(record.Wiped(l))
		tx := &host.Transaction{Put: []catalog.LUN{clean}}
		steps = append(steps, Wipe{l}, Commit{Tx: tx, Text: l.Name + " is wiped"})
		l = clean
	}
	c := layout.Change{Want: e.Wants(l), At: e.At}
	if len(l.Plexes) > 1 {
		c.Prepare, c.Commit = e.begin(l)
	}
	return Activate{l, append(steps, layout.Plan(c)...)}
}
