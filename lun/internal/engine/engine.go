package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// Engine carries steps out on a host.
type Engine struct {
	*host.Host
	Now   time.Time
	Guard Guard     // nil: a LUN stays suspended when the process dies in a window
	Lock  *os.File  // the host's lock, for the guard
	Dry   *Recorder // not nil: steps are recorded, not carried out
	Acted bool      // steps have been carried out, or recorded
}

// runner is a step of this package, which can concern drives. The steps of package layout concern devices only.
type runner interface {
	layout.Step
	run(ctx context.Context, e *Engine) error
}

// Run carries steps out in order and stops at the first error. If a step suspends a LUN, Run starts a guard beforehand.
func (e *Engine) Run(ctx context.Context, steps []layout.Step) error {
	e.Acted = e.Acted || len(steps) > 0
	if e.Dry != nil {
		if slices.ContainsFunc(steps, loadsMirror) {
			if err := e.Kernel.CanMirror(ctx); err != nil {
				return err
			}
		}
		e.Dry.record(steps, e.At)
		return nil
	}
	guard, place, err := e.standBy(ctx, steps)
	if err != nil {
		return err
	}
	defer guard.Dismiss()
	for i, s := range steps {
		if i == place {
			if err := guard.Ready(); err != nil {
				return err
			}
		}
		start := time.Now()
		err := e.do(ctx, s)
		if _, group := s.(Activate); !group { // its steps have been logged
			e.Log.Debug(s.String(), "took", time.Since(start), "error", err)
		}
		if err != nil {
			e.DropList()
			return err
		}
	}
	return nil
}

// loadsMirror reports whether a step loads the table of a mirror.
func loadsMirror(s layout.Step) bool {
	switch s := s.(type) {
	case layout.Load:
		return s.Node.Mirror != nil
	case Activate:
		return slices.ContainsFunc(s.Steps, loadsMirror)
	}
	return false
}

// do carries one step out.
func (e *Engine) do(ctx context.Context, s layout.Step) error {
	switch s := s.(type) {
	case layout.Create:
		return e.create(ctx, s)
	case layout.Load:
		return e.load(ctx, s)
	case layout.Resume:
		return e.Kernel.Resume(ctx, s.Node.Name, s.Node.Visibility)
	case layout.RefuseDiscards:
		if err := e.Kernel.RefuseDiscards(ctx, s.Node.Name); err != nil {
			e.Log.WarnContext(ctx, "what is discarded counts as written", "device", s.Node.Name, "error", err)
		}
		return nil
	case layout.Rename:
		e.Listed(s.Node.UUID, s.Node.Name)
		return e.Kernel.Rename(ctx, s.From, s.Node.Name, s.Node.Visibility)
	case layout.Clear:
		return e.Kernel.Clear(ctx, s.Name)
	case layout.Remove:
		return e.Kernel.Remove(ctx, s.Name)
	case layout.BestEffort:
		if err := e.do(ctx, s.Step); err != nil {
			e.DropList()
			e.Log.Warn("tidy up", "step", s.String(), "error", err)
		}
		return nil
	default:
		return s.(runner).run(ctx, e) //nolint:errcheck,forcetypeassert // there are no others
	}
}

func (e *Engine) create(ctx context.Context, s layout.Create) error {
	dev, err := e.Kernel.Create(ctx, s.Node.Name, s.Node.UUID)
	if err != nil {
		return err
	}
	e.At.Nodes[s.Node.UUID] = dev
	e.Listed(s.Node.UUID, s.Node.Name)
	return nil
}

func (e *Engine) load(ctx context.Context, s layout.Load) error {
	if !s.Node.Resolved(e.At) { // the kernel would take a leg without numbers for a missing one
		return fmt.Errorf("load table of %q: a device that it needs is missing", s.Node.Name)
	}
	return e.Kernel.Load(ctx, s.Node.Name, s.Node.Table(e.At))
}
