package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Swap is the change of a LUN from one record to the next, with the table of that record. If the LUN is not active, only its
// record changes.
type Swap struct {
	Op     string      // the verb for errors: "add plex to"
	Before catalog.LUN // the present record
	Next   catalog.LUN // the next record; Swap chooses its generation and its metadata slots
	Have   State       // what the kernel has of the LUN
	Commit string      // the text of the commit step; "": Next is committed already

	SwitchSlots bool // always use the other metadata slots; otherwise only if the live table uses the current ones of a mirror
	Freeze      bool // a file system on the LUN is frozen for the swap
	Forget      bool // no region counts as written when the new table begins

	Zeros host.ZeroMap // of the source that new plexes are filled from; may be nil

	Tx         host.Transaction // what else is committed, and how; Swap adds Next, and Before for taking it back
	First      []layout.Step    // run before all other steps
	After      []layout.Step    // run after the swap
	Up         []catalog.LUN    // other LUNs whose devices are restored when the change is taken back
	KeepKernel bool             // do not restore the devices of Before: the kernel had another table than the record

	parted string // the text of the second commit, when plexes are leaving
}

// Swap commits the next record of a LUN and brings the kernel to it. The steps come from layout.Plan, the metadata from package
// raid1. It uses a window if raid1 asks for one. Swap returns the record that holds afterwards. When a step fails, the change
// is taken back. If plexes leave a live mirror, a second commit follows the swap; see Part.
func (e *Engine) Swap(ctx context.Context, s Swap) (catalog.LUN, error) {
	steps, tx, err := e.planSwap(&s)
	if err != nil {
		return s.Before, err
	}
	up := s.Up
	if !s.KeepKernel {
		up = append([]catalog.LUN{s.Before}, up...)
	}
	top := s.Have.View.Own(s.Before.ID)
	unstarted := top.Suspended || !e.usesSlots(s.Before, top.Table)
	if err := e.carryOut(ctx, s.Op, s.Before.Name, steps, tx, unstarted, up); err != nil || s.parted == "" {
		return s.Next, err
	}
	return e.partAfter(ctx, s)
}

// planSwap returns the steps of a swap and their transaction. It completes s.Next.
func (e *Engine) planSwap(s *Swap) ([]layout.Step, *host.Transaction, error) {
	tx := &s.Tx
	var commit layout.Step
	if s.Commit != "" {
		roles := e.Roles(s.Next)
		if s.Have.Active() {
			s.Next = record.NewRun(s.Next, roles.Taking(), rand.Uint64())
		}
		if s.SwitchSlots || raid1.Clashes(s.Next, roles, s.Have.Legs) && len(s.Next.Plexes) > 1 {
			s.Next = raid1.SwitchSlots(s.Next, roles, s.Have.Legs)
			if err := checkDropped(s); err != nil {
				return nil, nil, err
			}
		}
		e.depart(s)
		s.Next = e.Next(raid1.KeepPrior(s.Next, s.Have.Legs))
		tx.Put = append([]catalog.LUN{s.Next}, tx.Put...)
		tx.Back = append([]catalog.LUN{s.Before}, tx.Back...)
		commit = Commit{Tx: tx, Text: s.Commit}
	}
	steps, err := e.transition(s, commit)
	return slices.Concat(s.First, steps, s.After), tx, err
}

// checkDropped refuses a swap that would make a plex stale only because its metadata cannot be read, while the kernel writes to it. If
// the swap is then cut off and the other plexes fail, this plex has the newest data. Its record would say the contrary.
func checkDropped(s *Swap) error {
	for _, p := range s.Next.Plexes {
		if p.Stale && s.Have.Legs.InUseUnread(p.ID) {
			return record.LUNFault(vds.ErrObjectStatusFailed, s.Op, s.Before.Name,
				fmt.Sprintf("the metadata of plex %s cannot be read, and the kernel writes to the plex", p.ID),
				"see to its drive, or run `plexctl plex remove "+s.Before.Name+" "+p.ID.String()+"`")
		}
	}
	return nil
}

// transition is the steps from the kernel's table to that of s.Next. The live table does not use the current slots of s.Next.
func (e *Engine) transition(s *Swap, commit layout.Step) ([]layout.Step, error) {
	if !s.Have.Active() {
		return append(slices.Clone(s.Have.Cleanup), layout.Present(commit)...), nil
	}
	roles := raid1.RolesBeside(s.Next, e.Roles(s.Next), s.Have.Legs)
	conv, err := raid1.Convert(s.Next, roles, s.Have.Legs)
	if err != nil {
		return nil, err
	}
	conv.Forget = s.Forget
	c := layout.Change{Want: layout.Of(s.Next, roles), Have: s.Have.View, Cleanup: s.Have.Cleanup, At: e.At, Commit: commit}.Named()
	if op, was := s.Next.Operation, s.Before.Operation; op != nil && (was == nil || was.ID != op.ID) {
		c.Mark = Mark{s.Next, true}
	}
	fill := newZeroFill(s, &conv)
	if fill != nil {
		c.Ready = fill
	}
	if len(s.Next.Plexes) > 1 {
		slots, err := conv.First()
		if err != nil {
			return nil, err
		}
		c.Prepare = WriteMeta{s.Next, slots, conv.Purpose()}
	}
	if conv.NeedsWindow(s.Freeze) {
		c.Swap = Window{Freeze: s.Freeze, Node: c.Want[len(c.Want)-1], Conv: conv, Fill: fill}
	}
	return layout.Plan(c), nil
}

// newZeroFill is the step that zeroes regions of new plexes. It needs a source of knowledge about what they lack: the bits of a
// tracked LUN, or a map of zero regions. nil when everything is copied anyway.
func newZeroFill(s *Swap, conv *raid1.Conversion) *ZeroFill {
	zeros := s.Zeros
	if zeros == nil && conv.LUN.Tracked() && conv.Was.Mirror {
		zeros = host.NoZeros{} // beyond its bits
	}
	if len(conv.New) == 0 || zeros == nil {
		return nil
	}
	conv.ZeroFill = true
	return &ZeroFill{Conv: *conv, Zeros: zeros, Tx: &s.Tx}
}

// carryOut runs the steps of a change. When one fails, it takes the change back, unless the error is a cutOff. If the commit was begun, it first commits the
// old records. Then it returns the devices of the LUNs in up to the old records. unstarted says that a mirror's
// table which is live by then has never started. Either the first resume of the table that the change found had failed, or that
// table did not use the metadata of the old record.
func (e *Engine) carryOut(
	ctx context.Context, op, name string, steps []layout.Step, tx *host.Transaction, unstarted bool, up []catalog.LUN,
) error {
	err := e.Run(ctx, steps)
	if err == nil {
		return nil
	}
	failed := fault.Of(op, record.LUNObject(name), err)
	if _, ends := errors.AsType[cutOff](err); ends {
		return failed
	}
	return fault.Undo(failed, e.takeBack(ctx, tx, unstarted, up))
}

// Amend commits next, between the steps first and the others, and returns the record. next is l with something else recorded.
// The tables of the kernel's devices stay unchanged.
func (e *Engine) Amend(
	ctx context.Context, op string, l, next catalog.LUN, text string, first []layout.Step, then ...layout.Step,
) (catalog.LUN, error) {
	next = e.Next(next)
	tx := &host.Transaction{Put: []catalog.LUN{next}, Back: []catalog.LUN{l}}
	steps := slices.Concat(first, []layout.Step{Commit{Tx: tx, Text: text}}, then)
	return next, e.carryOut(ctx, op, l.Name, steps, tx, false, nil)
}
