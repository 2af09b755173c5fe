package lun

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/plexctl/plexctl/dm"
)

// observed is a device-mapper device as the kernel has it.
type observed struct {
	dm.Info
	table dm.Table // live
}

// view is what the kernel has of one LUN, by dm UUID.
type view map[string]observed

// change is a transition of one LUN: what it needs, what the kernel has, and what goes with it.
type change struct {
	want    []node      // from layout; empty to take the LUN down
	have    view        // what the kernel has
	at      numbers     // for comparing tables
	settle  []step      // ends what an interrupted change has left; have is as after them
	prepare step        // writes the metadata that a new mirror table needs; nil when there is none to write
	commit  step        // makes the change final; nil when the record is already final
	ready   step        // what is to be done between the commit and the swap; nil when nothing is
	window  *windowStep // how to swap the LUN's table; nil: a single call does
}

// plan is the steps, in order, that bring the kernel from c.have to c.want. It is pure, and it is empty when nothing is
// to be done and nothing is to be committed.
//
//	names │ metadata │ private devices │ load │ COMMIT │ zero new plexes │ swap │ what is left over
//
// Before the commit nothing that users see has changed; after it every step can be repeated by a later plan. A LUN that has no
// device is committed before any is made, so that no device is without a record. From a linear table the swap is a single call:
// the kernel suspends, exchanges the tables and resumes within it, so no process can die in between. A live mirror is swapped
// through a window; see convert.go.
func plan(c change) []step {
	if len(c.want) == 0 {
		return slices.Concat(c.settle, c.takeDown(), present(c.commit))
	}
	top := c.want[len(c.want)-1]
	have, exists := c.have[top.uuid]
	steps := slices.Concat(c.settle, c.renames())
	if exists && c.matches(top) {
		steps = slices.Concat(steps, c.private(), c.clear(top), present(c.commit))
		if have.Suspended {
			steps = append(steps, resumeStep{top})
		}
		return append(steps, tidy(c.leftover())...)
	}
	steps = append(steps, c.clear(top)...)
	if top.mirror != nil {
		steps = append(steps, present(c.prepare)...)
	}
	if !exists {
		return slices.Concat(steps, present(c.commit), c.private(), []step{createStep{top}, loadStep{top}, resumeStep{top}}, tidy(c.leftover()))
	}
	return slices.Concat(steps, c.private(), []step{loadStep{top}}, present(c.commit), present(c.ready), []step{c.swap(top)}, tidy(c.leftover()))
}

// swap makes the loaded table of the LUN the live one.
func (c change) swap(top node) step {
	if c.window == nil {
		return resumeStep{top}
	}
	w := *c.window
	w.node = top
	return w
}

// renames gives every device that exists its wanted name.
func (c change) renames() []step {
	var steps []step
	for _, n := range c.want {
		if have, ok := c.have[n.uuid]; ok && have.Name != n.name {
			steps = append(steps, renameStep{have.Name, n})
		}
	}
	return steps
}

// matches reports whether the live table of n is the wanted one. A leg whose devices do not exist yet matches nothing,
// in particular not a missing leg.
func (c change) matches(n node) bool {
	have, ok := c.have[n.uuid]
	if !ok || !have.Live || !n.resolved(c.at) {
		return false
	}
	table := have.table
	if raid, ok := soleTarget[dm.Raid1](table); ok && n.mirror != nil && n.mirror.anyRate {
		raid.MinRate, raid.MaxRate = 0, defaultMaxRate
		table = dm.Table{{Start: table[0].Start, Length: table[0].Length, Target: raid}}
	}
	return equalTables(table, n.table(c.at))
}

func equalTables(a, b dm.Table) bool { return reflect.DeepEqual(a, b) }

// clear empties the inactive slot of n where something is in it. A table that waits there may use metadata that is about
// to be written.
func (c change) clear(n node) []step {
	if c.have[n.uuid].Inactive {
		return []step{clearStep{n.name}}
	}
	return nil
}

// private is the steps for all devices under the LUN's own.
func (c change) private() []step {
	var steps []step
	for _, n := range c.want[:len(c.want)-1] {
		have, exists := c.have[n.uuid]
		if exists && c.matches(n) && !have.Suspended && !have.Inactive {
			continue
		}
		if !exists {
			steps = append(steps, createStep{n})
		}
		steps = append(steps, loadStep{n}, resumeStep{n})
		if n.keeps {
			steps = append(steps, keepStep{n})
		}
	}
	return steps
}

// leftover removes the devices of the LUN that it does not need any more.
func (c change) leftover() []step {
	wanted := map[string]bool{}
	for _, n := range c.want {
		wanted[n.uuid] = true
	}
	var steps []step
	for _, n := range c.have.names() {
		if !wanted[n.uuid] {
			steps = append(steps, removeStep{n.name})
		}
	}
	return steps
}

// takeDown removes every device of the LUN, the LUN's own first, and lets no part of it be suspended then: a mirror that is
// destroyed writes to its metadata devices once more (up to Linux 6.12) and would hang. The LUN's own device may be.
func (c change) takeDown() []step {
	var steps []step
	for _, n := range slices.Backward(c.have.names()) {
		steps = append(steps, c.clear(n)...)
		if have := c.have[n.uuid]; have.Suspended && have.Live && n.visibility == dm.Private {
			steps = append(steps, resumeStep{n})
		}
	}
	return append(steps, c.leftover()...)
}

// names is the devices of v as nodes without content, the LUN's own first, then by name: the order of removal.
func (v view) names() []node {
	nodes := make([]node, 0, len(v))
	for id, o := range v {
		n := node{name: o.Name, uuid: id, visibility: dm.Private}
		if owner, _ := ownerOf(id); id == lunUUID(owner) {
			n.visibility = dm.Public
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b node) int {
		if a.visibility != b.visibility {
			return int(a.visibility) - int(b.visibility)
		}
		return cmp.Compare(a.name, b.name)
	})
	return nodes
}

// present is a list of s, or an empty one when s is nil.
func present(s step) []step {
	if s == nil {
		return nil
	}
	return []step{s}
}
