package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// depart makes a swap after which plexes are gone one of two commits, if the live mirror may still write to these plexes. The first
// commit says that they are leaving. The second one follows the swap, with what else the swap was to commit; see Part.
func (e *Engine) depart(s *Swap) {
	d := raid1.Departs(s.Before, s.Next, s.Have.Legs)
	if d == nil || s.Before.Departure != nil {
		return
	}
	for _, made := range s.Tx.Put {
		d.Made = &made
	}
	s.Next.Departure = d
	s.Tx = host.Transaction{Back: s.Tx.Back}
	s.parted, s.Commit, s.After = s.Commit, leaving(s.Next), nil
}

// leaving says which plexes are leaving l.
func leaving(l catalog.LUN) string {
	all := l.Leaving()
	if len(all) == 1 {
		return fmt.Sprintf("plex %s is leaving %s", all[0].ID, l.Name)
	}
	return fmt.Sprintf("%d plexes are leaving %s", len(all), l.Name)
}

// Parting says how Part commits.
type Parting struct {
	Text     string // of the commit; "": that of a departure
	Activate bool   // the LUN that is made of the plexes gets its devices
	Forced   bool   // nothing proves that the plexes were not used on: the record begins a new history
}

// Part commits that the kernel has let go of the plexes that were leaving l, and the LUN that is made of them. An error takes
// nothing back, because the kernel runs without the plexes. The next change of l, or Assemble, commits again. Part returns the
// record that holds afterwards.
func (e *Engine) Part(ctx context.Context, l catalog.LUN, how Parting) (catalog.LUN, error) {
	next := l
	next.Departure = nil
	if how.Forced {
		next = record.Fork(next, l, uuid.New())
	}
	next = e.Next(next)
	tx := &host.Transaction{Put: []catalog.LUN{next}, All: true, Need: host.Needed(next)}
	if how.Text == "" {
		how.Text = next.Name + " has let its plexes go"
	}
	steps := []layout.Step{Commit{Tx: tx, Text: how.Text, Final: true}}
	if l.Departure.Made != nil {
		made := e.Next(*l.Departure.Made)
		tx.Put, tx.First = append(tx.Put, made), made.Drives()
		if !made.Wipe { // a copy of the data must not be lost unsaid
			tx.Need = append(tx.Need, made.Drives()...)
		}
		if how.Activate {
			steps = append(steps, e.NewActivate(made))
		}
	}
	if err := e.Run(ctx, steps); err != nil {
		return l, fault.Of("commit the departure of plexes of", record.LUNObject(l.Name), err)
	}
	return next, nil
}

// partAfter is Part after a swap. Its failure is no error of the change, which has been carried out, unless the change was to make a
// LUN with the data.
func (e *Engine) partAfter(ctx context.Context, s Swap) (catalog.LUN, error) {
	next, err := e.Part(ctx, s.Next, Parting{Text: s.parted, Activate: true})
	if made := s.Next.Departure.Made; err == nil || made != nil && !made.Wipe {
		return next, err
	}
	e.Log.WarnContext(ctx, "plexes that have left still keep their space; the next change commits it", "lun", s.Next.Name, "error", err)
	return s.Next, nil
}

// Rejoin commits that the plexes that were leaving l have not left: only they hold the data. lost reports whether the kernel has
// dropped a plex. The drive of such a plex need not take the commit.
func (e *Engine) Rejoin(ctx context.Context, l catalog.LUN, lost func(plex uuid.UUID) bool) (catalog.LUN, error) {
	next := e.Next(l.Before())
	tx := &host.Transaction{Put: []catalog.LUN{next}, Back: []catalog.LUN{l}, Need: host.Needed(record.MarkLost(next, lost))}
	commit := Commit{Tx: tx, Text: "the plexes that were leaving " + l.Name + " stay: only they hold its data"}
	return next, e.carryOut(ctx, "keep plexes of", l.Name, []layout.Step{commit}, tx, false, nil)
}
