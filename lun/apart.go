package lun

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
)

// A device-mapper device takes the kernel some time to make and more to remove, in which it mostly waits. So LUNs that have
// nothing to do with each other are started and taken down several at a time.

// each calls f for every one of luns, some at a time, each with a machine of its own that knows the devices of that LUN alone.
// f commits nothing: the records and the drives are shared.
func (m *machine) each(luns []catalog.LUN, f func(m *machine, i int, l catalog.LUN)) {
	workers := m.workers
	if m.dry != nil {
		workers = 1 // a plan has an order
	}
	parts := make([]*machine, len(luns))
	for i, l := range luns {
		parts[i] = m.apart(l.ID)
	}
	var begun atomic.Int64
	var group sync.WaitGroup
	for range min(workers, len(luns)) {
		group.Go(func() {
			for i := begun.Add(1) - 1; int(i) < len(luns); i = begun.Add(1) - 1 {
				f(parts[i], int(i), luns[i])
			}
		})
	}
	group.Wait()
	for i, l := range luns {
		m.rejoin(parts[i], l.ID)
	}
}

// apart is m for one LUN.
func (m *machine) apart(id uuid.UUID) *machine {
	part := *m
	part.at.nodes = map[string]devno.No{}
	if m.listed != nil {
		part.listed = listing{id: maps.Clone(m.listed[id])}
	}
	return &part
}

// rejoin takes in what a part of m has learned of its LUN.
func (m *machine) rejoin(part *machine, id uuid.UUID) {
	maps.Copy(m.at.nodes, part.at.nodes)
	if part.listed == nil {
		m.listed = nil
	} else if m.listed != nil {
		m.listed[id] = part.listed[id]
	}
}
