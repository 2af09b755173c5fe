package engine

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// PlannedStep is one step of a change in the form that users see.
type PlannedStep struct {
	Text   string // the step in words
	Table  string // the device-mapper table that is loaded, a line for each segment; empty when none is
	Undo   string // how plexctl takes the step back when a later one fails; empty when there is nothing to take back
	Commit bool   // after this step the change is carried out; before it, it is taken back
}

// Recorder keeps the steps of changes that are not carried out.
type Recorder struct {
	mu    sync.Mutex
	steps []PlannedStep
	made  map[string]string // names of devices that would have been made, by dm UUID
}

// NewRecorder is a Recorder without steps.
func NewRecorder() *Recorder { return &Recorder{made: map[string]string{}} }

// Steps is all steps that were recorded, in order.
func (r *Recorder) Steps() []PlannedStep {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.steps)
}

// record keeps steps instead of carrying them out.
func (r *Recorder) record(steps []layout.Step, at layout.Numbers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(steps, at)
}

// add adds steps, and the inner steps of each Activate.
func (r *Recorder) add(steps []layout.Step, at layout.Numbers) {
	for _, s := range steps {
		if group, ok := s.(Activate); ok {
			r.add(group.Steps, at)
			continue
		}
		r.steps = append(r.steps, r.planned(s, at))
	}
}

// planned is a step in the form that users see.
func (r *Recorder) planned(s layout.Step, at layout.Numbers) PlannedStep {
	shown := PlannedStep{Text: s.String()}
	const swapBack = "load the table before it, and activate that"
	switch s := s.(type) {
	case layout.BestEffort:
		return r.planned(s.Step, at)
	case layout.Create:
		r.made[s.Node.UUID] = s.Node.Name
		shown.Undo = "remove device " + s.Node.Name
	case layout.Load:
		shown.Table, shown.Undo = r.table(s.Node, at), "clear the waiting table of "+s.Node.Name
	case layout.Resume:
		if s.Node.Visibility != dm.Private {
			shown.Undo = swapBack
		}
	case Window:
		shown.Undo = swapBack
	case layout.Remove:
		shown.Undo = "make it again as the record before wants it"
	case layout.Rename:
		shown.Undo = "rename it back"
	case Commit:
		if shown.Commit = true; !s.Final {
			shown.Undo = "commit the records before as newer versions"
		}
	case Label, Unlabel, GrowDrive, RepairDrive:
		shown.Commit = true
	}
	return shown
}

// noMajor is the major number of stand-ins for devices that do not exist yet. No device has it.
const noMajor = 1<<32 - 1

// table is n's table as dmsetup prints it. Devices that do not exist yet have their name in the place of their number.
func (r *Recorder) table(n layout.Node, at layout.Numbers) string {
	all := layout.Numbers{Drives: at.Drives, Nodes: maps.Clone(at.Nodes)}
	names := slices.Sorted(maps.Keys(r.made))
	for i, id := range names {
		if at.Nodes[id].IsZero() {
			all.Nodes[id] = devno.No{Major: noMajor, Minor: uint32(i)}
		}
	}
	text := n.Table(all).String()
	for i, id := range slices.Backward(names) { // the longer numbers first: 12 before 1
		text = strings.ReplaceAll(text, devno.No{Major: noMajor, Minor: uint32(i)}.String(), r.made[id])
	}
	return text
}
