package lun

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
)

// PlannedStep is one step of a change, as it is shown to a user.
type PlannedStep struct {
	Text   string // what is done
	Table  string // the device-mapper table that is loaded, a line each segment; empty where none is
	Undo   string // how plexctl takes the step back when a later one fails; empty where nothing has to be
	Commit bool   // from here on the change is carried out, before it it is taken back
}

// recorder keeps the steps that a DryRun Provider does not take.
type recorder struct {
	mu    sync.Mutex
	steps []PlannedStep
	made  map[string]string // names of devices that would have been made, by dm UUID
}

// DryRun is a Provider that carries no change out: it checks what p would check, plans what p would plan, and keeps the
// steps, which Plan returns. Its methods that return a handle on what they began or made return nil instead. It sees the
// drives as p last read them or later, takes no lock, and is closed with p.
func (p *Provider) DryRun() *Provider {
	dry := &Provider{
		kernel: p.kernel, devices: p.devices, log: p.log, lockPath: p.lockPath, hosts: p.hosts, now: p.now, workers: p.workers,
		monitor: resync.NewMonitor(p.kernel, p.log), dry: &recorder{made: map[string]string{}},
	}
	dry.current = p.machine()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dries = append(p.dries, dry)
	return dry
}

// Plan is the steps of all changes that were asked of a DryRun Provider, in order.
func (p *Provider) Plan() []PlannedStep {
	if p.dry == nil {
		return nil
	}
	p.dry.mu.Lock()
	defer p.dry.mu.Unlock()
	return append([]PlannedStep(nil), p.dry.steps...)
}

// record keeps steps in place of taking them.
func (r *recorder) record(steps []step, at numbers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range flat(steps) {
		r.steps = append(r.steps, r.planned(s, at))
	}
}

// flat is steps with those of a LUN that is revived in the place of the one step for all of them.
func flat(steps []step) []step {
	var all []step
	for _, s := range steps {
		if r, ok := s.(reviveStep); ok {
			all = append(all, r.steps...)
			continue
		}
		all = append(all, s)
	}
	return all
}

// planned is how a step is shown.
func (r *recorder) planned(s step, at numbers) PlannedStep {
	shown := PlannedStep{Text: s.String()}
	switch s := s.(type) {
	case tidyStep:
		return r.planned(s.step, at)
	case createStep:
		r.made[s.node.uuid] = s.node.name
		shown.Undo = "remove device " + s.node.name
	case loadStep:
		shown.Table, shown.Undo = r.table(s.node, at), "clear the waiting table of "+s.node.name
	case resumeStep:
		if s.node.visibility == dm.Public {
			shown.Undo = "load the table before it, and activate that"
		}
	case windowStep:
		shown.Undo = "load the table before it, and activate that"
	case removeStep:
		shown.Undo = "make it again as the record before wants it"
	case renameStep:
		shown.Undo = "rename it back"
	case funcStep:
		shown.Undo, shown.Commit = s.undo, s.commit
	}
	return shown
}

// noMajor is the major number of stand-ins for devices that do not exist yet. No device has it.
const noMajor = 1<<32 - 1

// table is n's table as dmsetup prints it, with names in the place of the numbers of devices that do not exist yet.
func (r *recorder) table(n node, at numbers) string {
	all := numbers{drives: at.drives, nodes: maps.Clone(at.nodes)}
	names := slices.Sorted(maps.Keys(r.made))
	for i, id := range names {
		if at.nodes[id].IsZero() {
			all.nodes[id] = devno.No{Major: noMajor, Minor: uint32(i)}
		}
	}
	text := n.table(all).String()
	for i, id := range slices.Backward(names) { // the longer numbers first: 12 before 1
		text = strings.ReplaceAll(text, devno.No{Major: noMajor, Minor: uint32(i)}.String(), r.made[id])
	}
	return text
}
