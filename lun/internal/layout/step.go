package layout

import (
	"fmt"
)

// Step is one effect of a change, as data. Users see its text. The steps of this package concern devices only. Package engine
// has the steps that concern drives, and carries all of them out.
type Step interface{ fmt.Stringer }

// Create makes a device without a table.
type Create struct{ Node Node }

// Load puts a device's wanted table into its inactive slot. The kernel checks the table then.
type Load struct{ Node Node }

// Resume makes the loaded table the live one, or resumes a suspended device.
type Resume struct{ Node Node }

// RefuseDiscards disables discards on a device and on devices stacked on it later. It is an optimisation: a failure is only
// logged.
type RefuseDiscards struct{ Node Node }

// Rename gives a device the name that its LUN's record wants.
type Rename struct {
	From string
	Node Node
}

// Clear drops the table in a device's inactive slot.
type Clear struct{ Name string }

// Remove destroys a device that is not open.
type Remove struct{ Name string }

// BestEffort is a step after everything that matters. If it fails, the change still holds, and the next plan repeats the step.
type BestEffort struct{ Step }

func (s Create) String() string         { return "create device " + s.Node.Name }
func (s Load) String() string           { return "load table of " + s.Node.Name }
func (s Resume) String() string         { return "activate " + s.Node.Name }
func (s RefuseDiscards) String() string { return "let " + s.Node.Name + " take no discards" }
func (s Rename) String() string         { return "rename device " + s.From + " to " + s.Node.Name }
func (s Clear) String() string          { return "clear the waiting table of " + s.Name }
func (s Remove) String() string         { return "remove device " + s.Name }

// bestEffort marks steps as BestEffort.
func bestEffort(steps []Step) []Step {
	for i := range steps {
		steps[i] = BestEffort{steps[i]}
	}
	return steps
}

// Present is a list of s, or an empty one when s is nil.
func Present(s Step) []Step {
	if s == nil {
		return nil
	}
	return []Step{s}
}
