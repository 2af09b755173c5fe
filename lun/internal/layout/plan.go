package layout

import (
	"reflect"
	"slices"

	"github.com/plexctl/plexctl/dm"
)

// Change is a transition of one LUN: what the record needs, what the kernel has, and the steps around it. A nil Step is none.
type Change struct {
	Want    []Node  // from Of; empty to take the LUN down
	Have    View    // what the kernel has
	At      Numbers // for comparing tables
	Cleanup []Step  // ends an interrupted change; Have is the state after it
	Prepare Step    // writes the metadata that a new mirror table needs; not for a linear one
	Mark    Step    // writes where a copy begins, before the table that copies is loaded
	Commit  Step    // makes the change final
	Ready   Step    // runs between the commit and the swap
	Swap    Step    // makes the loaded table of the LUN live; nil: Resume, a single call
}

// Plan is the steps, in order, that bring the kernel from c.Have to c.Want. It is pure. It is empty when there is nothing to do
// and nothing to commit.
//
//	names │ metadata │ private devices │ mark │ load │ COMMIT │ zero new plexes │ swap │ what is left over
//
// Before the commit, users see no change. After it, a later plan can repeat every step. A LUN without a device is committed
// before its devices are made, so that every device has a record.
//
// A linear table is swapped in a single call. The kernel suspends, exchanges the tables and resumes in it, so plexctl cannot
// die in between. A live mirror is swapped in a window; see package engine.
func Plan(c Change) []Step {
	if len(c.Want) == 0 {
		return slices.Concat(c.Cleanup, c.takeDown(), Present(c.Commit))
	}
	c = c.Named()
	top := c.top()
	have, exists := c.Have[top.UUID]
	steps := slices.Concat(c.Cleanup, c.renames())
	if exists && c.Matches(top) {
		steps = slices.Concat(steps, c.private(), c.clear(top), Present(c.Commit))
		if have.Suspended {
			steps = append(steps, Resume{top})
		}
		return append(steps, bestEffort(c.leftover())...)
	}
	steps = append(steps, c.clear(top)...)
	if top.Mirror != nil {
		steps = append(steps, Present(c.Prepare)...)
	}
	if !exists {
		return slices.Concat(steps, Present(c.Commit), c.private(), Present(c.Mark), []Step{Create{top}, Load{top}, Resume{top}}, bestEffort(c.leftover()))
	}
	return slices.Concat(steps, c.private(), Present(c.Mark), []Step{Load{top}}, Present(c.Commit), Present(c.Ready), []Step{c.swap(top)}, bestEffort(c.leftover()))
}

// top is the LUN's own device.
func (c Change) top() Node { return c.Want[len(c.Want)-1] }

func (c Change) swap(top Node) Step {
	if c.Swap == nil {
		return Resume{top}
	}
	return c.Swap
}

// Named is c, where an existing device keeps its name as long as another device has the name that it should get. The LUN works
// under the old name meanwhile.
func (c Change) Named() Change {
	c.Want = slices.Clone(c.Want)
	for i, n := range c.Want {
		if have, exists := c.Have[n.UUID]; exists && c.At.Taken(n) {
			c.Want[i].Name = have.Name
		}
	}
	return c
}

// TopName is the name of the LUN's own device after c.
func (c Change) TopName() string { return c.Named().top().Name }

// RenamePlan is the steps that give existing devices their wanted names. They need no commit of their own, because any plan of
// the record includes them.
func RenamePlan(c Change) []Step { return c.Named().renames() }

func (c Change) renames() []Step {
	var steps []Step
	for _, n := range c.Want {
		if have, ok := c.Have[n.UUID]; ok && have.Name != n.Name {
			steps = append(steps, Rename{have.Name, n})
		}
	}
	return steps
}

// Satisfied reports whether the live table of the LUN's own device is the wanted one.
func (c Change) Satisfied() bool { return c.Matches(c.top()) }

// Matches reports whether the live table of n is the wanted one. A leg whose devices do not exist yet never matches, not even a
// missing leg.
func (c Change) Matches(n Node) bool {
	have, ok := c.Have[n.UUID]
	if !ok || !have.Live || !n.Resolved(c.At) {
		return false
	}
	table := have.Table
	if raid, ok := SoleTarget[dm.Raid1](table); ok && n.Mirror != nil && n.Mirror.AnyRate {
		raid.MinRate, raid.MaxRate = 0, defaultMaxRate
		table = dm.Table{{Start: table[0].Start, Length: table[0].Length, Target: raid}}
	}
	return equal(table, n.Table(c.At))
}

func equal(a, b dm.Table) bool { return reflect.DeepEqual(a, b) }

// clear empties the inactive slot of n if there is a table in it. It may use metadata that is about to be written.
func (c Change) clear(n Node) []Step {
	if c.Have[n.UUID].Inactive {
		return []Step{Clear{n.Name}}
	}
	return nil
}

// private is the steps for the private devices, which lie under the LUN's own device.
func (c Change) private() []Step {
	var steps []Step
	for _, n := range c.Want[:len(c.Want)-1] {
		have, exists := c.Have[n.UUID]
		if exists && c.Matches(n) && !have.Suspended && !have.Inactive {
			continue
		}
		if !exists {
			steps = append(steps, Create{n})
		}
		steps = append(steps, Load{n}, Resume{n})
		if n.NoDiscards {
			steps = append(steps, RefuseDiscards{n})
		}
	}
	return steps
}

// leftover removes the devices that the LUN no longer needs.
func (c Change) leftover() []Step {
	wanted := map[string]bool{}
	for _, n := range c.Want {
		wanted[n.UUID] = true
	}
	var steps []Step
	for _, n := range c.Have.names() {
		if !wanted[n.UUID] {
			steps = append(steps, Remove{n.Name})
		}
	}
	return steps
}

// takeDown removes every device of the LUN, the LUN's own first. It resumes suspended private devices beforehand. Up
// to Linux 6.12 the kernel writes the metadata of a mirror once more when it destroys the mirror; that write would hang. The LUN's own
// device may stay suspended.
func (c Change) takeDown() []Step {
	var steps []Step
	for _, n := range slices.Backward(c.Have.names()) {
		steps = append(steps, c.clear(n)...)
		if have := c.Have[n.UUID]; have.Suspended && have.Live && n.Visibility == dm.Private {
			steps = append(steps, Resume{n})
		}
	}
	return append(steps, c.leftover()...)
}
