package dmtest

import (
	"slices"

	"github.com/plexctl/plexctl/blockdev/blocktest"
)

// Fork is a copy of the device-mapper and of the machine's drives (blocktest.Mem.Fork), as another process would find them
// if this one died now. Devices, tables, arrays and their threads are the same. The only openers are those of Hold. k itself
// is not changed.
func (k *Kernel) Fork() (*Kernel, *blocktest.Mem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	after := New(k.mem.Fork(), k.release)
	after.minors, after.events, after.seen = k.minors, k.events, k.seen
	after.log, after.noLog, after.lacks = slices.Clone(k.log), k.noLog, k.lacks
	f := fork{after: after, devices: make(map[*device]*device, len(k.devices))}
	for _, d := range k.devices {
		f.devices[d] = &device{name: d.name, uuid: d.uuid, dev: d.dev, event: d.event, openers: d.openers, suspended: d.suspended}
	}
	for _, d := range k.devices {
		after.devices = append(after.devices, f.fill(d))
		after.show(f.devices[d])
	}
	return after, after.mem
}

// fork is a Kernel that is being copied.
type fork struct {
	after   *Kernel
	devices map[*device]*device // the copies
}

// fill copies what refers to other devices.
func (f fork) fill(d *device) *device {
	to := f.devices[d]
	to.stacked = make(map[*device]int, len(d.stacked))
	for holder, n := range d.stacked {
		to.stacked[f.devices[holder]] = n
	}
	if d.suspended {
		to.resumed = make(chan struct{})
	}
	to.live, to.inactive = f.table(d.live), f.table(d.inactive)
	return to
}

func (f fork) table(t *table) *table {
	if t == nil {
		return nil
	}
	to := &table{kernel: f.after, holder: f.devices[t.holder], uses: slices.Clone(t.uses)}
	for _, s := range t.segments {
		s.target = f.target(s.target, to)
		to.segments = append(to.segments, s)
	}
	return to
}

func (f fork) target(of target, in *table) target {
	switch t := of.(type) {
	case *linear:
		return &linear{below: f.lower(t.below), offset: t.offset}
	case *raid:
		to := *t
		to.table, to.legs = in, nil
		to.bits.set, to.bits.needed = slices.Clone(t.bits.set), slices.Clone(t.bits.needed)
		for _, l := range t.legs {
			to.legs = append(to.legs, f.leg(l))
		}
		return &to
	}
	return of // without a state
}

func (f fork) leg(l *leg) *leg {
	to := *l
	to.meta, to.data = f.lower(l.meta), f.lower(l.data)
	return &to
}

func (f fork) lower(of lower) lower {
	switch below := of.(type) {
	case *upper:
		return &upper{f.devices[below.device]}
	case *drive:
		return &drive{below.medium.In(f.after.mem)}
	}
	return nil // of a missing leg
}
