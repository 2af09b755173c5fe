package lun

import (
	"context"
	"fmt"
	"time"
)

// step is one effect of a change. Its text is what a user sees of it.
type step interface {
	fmt.Stringer
	run(ctx context.Context, m *machine) error
}

// execute runs steps in order and stops at the first error. A guard stands by where one of them suspends a LUN.
func (m *machine) execute(ctx context.Context, steps []step) error {
	if m.dry != nil {
		m.dry.record(steps, m.at)
		return nil
	}
	guard, place, err := m.standBy(ctx, steps)
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
		err := s.run(ctx, m)
		if _, group := s.(reviveStep); !group { // its steps have been logged
			m.log.Debug(s.String(), "took", time.Since(start), "error", err)
		}
		if err != nil {
			m.listed = nil
			return err
		}
	}
	return nil
}

// createStep makes a device without a table.
type createStep struct{ node node }

func (s createStep) String() string { return "create device " + s.node.name }

func (s createStep) run(ctx context.Context, m *machine) error {
	dev, err := m.kernel.Create(ctx, s.node.name, s.node.uuid)
	if err != nil {
		return err
	}
	m.at.nodes[s.node.uuid] = dev
	m.listed.note(s.node.uuid, s.node.name)
	return nil
}

// loadStep puts a device's wanted table into its inactive slot; the kernel checks it there.
type loadStep struct{ node node }

func (s loadStep) String() string { return "load table of " + s.node.name }

func (s loadStep) run(ctx context.Context, m *machine) error {
	if !s.node.resolved(m.at) {
		return fmt.Errorf("load table of %q: a device that it needs is missing", s.node.name)
	}
	return m.kernel.Load(ctx, s.node.name, s.node.table(m.at))
}

// resumeStep makes the loaded table the live one, or lets a suspended device go on.
type resumeStep struct{ node node }

func (s resumeStep) String() string { return "activate " + s.node.name }

func (s resumeStep) run(ctx context.Context, m *machine) error {
	return m.kernel.Resume(ctx, s.node.name, s.node.visibility)
}

// keepStep has a device take no discards, nor those that are stacked on it from now on. That is worth something to whoever tracks
// what was written, and nothing depends on it.
type keepStep struct{ node node }

func (s keepStep) String() string { return "let " + s.node.name + " take no discards" }

func (s keepStep) run(ctx context.Context, m *machine) error {
	if err := m.kernel.RefuseDiscards(ctx, s.node.name); err != nil {
		m.log.WarnContext(ctx, "what is discarded counts as written", "device", s.node.name, "error", err)
	}
	return nil
}

// renameStep gives a device the name that its LUN's record wants.
type renameStep struct {
	from string
	node node
}

func (s renameStep) String() string { return "rename device " + s.from + " to " + s.node.name }

func (s renameStep) run(ctx context.Context, m *machine) error {
	m.listed.note(s.node.uuid, s.node.name)
	return m.kernel.Rename(ctx, s.from, s.node.name, s.node.visibility)
}

// clearStep drops the table in a device's inactive slot.
type clearStep struct{ name string }

func (s clearStep) String() string { return "clear the waiting table of " + s.name }

func (s clearStep) run(ctx context.Context, m *machine) error { return m.kernel.Clear(ctx, s.name) }

// removeStep destroys a device that nobody has open.
type removeStep struct{ name string }

func (s removeStep) String() string { return "remove device " + s.name }

func (s removeStep) run(ctx context.Context, m *machine) error { return m.kernel.Remove(ctx, s.name) }

// tidyStep is a step that comes after everything that matters: when it fails, the change holds all the same, and the next
// plan does it.
type tidyStep struct{ step }

func (s tidyStep) run(ctx context.Context, m *machine) error {
	if err := s.step.run(ctx, m); err != nil {
		m.listed = nil
		m.log.Warn("tidy up", "step", s.String(), "error", err)
	}
	return nil
}

// tidy makes steps ones whose failure undoes nothing.
func tidy(steps []step) []step {
	for i := range steps {
		steps[i] = tidyStep{steps[i]}
	}
	return steps
}

// funcStep is a step with an effect of its own: metadata, a commit, a wipe.
type funcStep struct {
	text   string
	undo   string // how a later failure takes it back; empty where nothing has to be
	commit bool
	do     func(ctx context.Context, m *machine) error
}

func (s funcStep) String() string { return s.text }

func (s funcStep) run(ctx context.Context, m *machine) error { return s.do(ctx, m) }
