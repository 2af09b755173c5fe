package lun

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/dm"
)

// listing is the names of plexctl's devices, by LUN and dm UUID. A device in it may be gone, or have another UUID by now.
type listing map[uuid.UUID]map[string]string

// note adds a device, or its new name. A nil listing takes nothing in.
func (l listing) note(dmUUID, name string) {
	owner, own := ownerOf(dmUUID)
	if l == nil || !own {
		return
	}
	if l[owner] == nil {
		l[owner] = map[string]string{}
	}
	l[owner][dmUUID] = name
}

// list asks the kernel which devices of plexctl it has.
func (m *machine) list(ctx context.Context) (listing, error) {
	devices, err := m.active(ctx)
	if err != nil {
		return nil, err
	}
	found := listing{}
	for id, d := range devices {
		found.note(id, d.Name)
	}
	return found, nil
}

// keepList asks the kernel for its devices once, for a change of many LUNs that looks at each of them. Only plexctl makes
// such devices, and only with the host's lock: the list holds until this process makes or renames one, which its steps note.
// A step that fails may have made one all the same: then the list is given up. It has to be, too, when the change is over.
func (m *machine) keepList(ctx context.Context) (done func(), err error) {
	m.listed, err = m.list(ctx)
	return func() { m.listed = nil }, err
}

// observe is what the kernel has of plexctl's devices, by LUN. It also refreshes the device numbers that tables need.
func (m *machine) observe(ctx context.Context, of func(lun uuid.UUID) bool) (map[uuid.UUID]view, error) {
	devices := m.listed
	if devices == nil {
		var err error
		if devices, err = m.list(ctx); err != nil {
			return nil, err
		}
	}
	views := map[uuid.UUID]view{}
	for _, owner := range slices.SortedFunc(maps.Keys(devices), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		if !of(owner) {
			continue
		}
		v, err := m.look(ctx, devices[owner])
		if err != nil {
			return nil, err
		}
		if len(v) > 0 {
			views[owner] = v
		}
	}
	return views, nil
}

// viewOf is what the kernel has of one LUN.
func (m *machine) viewOf(ctx context.Context, id uuid.UUID) (view, error) {
	if m.listed != nil {
		return m.look(ctx, m.listed[id])
	}
	views, err := m.observe(ctx, func(other uuid.UUID) bool { return other == id })
	return views[id], err
}

// look observes the devices of a LUN, names by dm UUID; nil when there is none of them.
func (m *machine) look(ctx context.Context, names map[string]string) (view, error) {
	var v view
	for _, id := range slices.Sorted(maps.Keys(names)) {
		name := names[id]
		info, table, err := m.kernel.Observe(ctx, name)
		if errors.Is(err, dm.ErrNotExist) || err == nil && info.UUID != id {
			continue
		}
		if err != nil {
			return nil, fault("observe", lunObject(name), err)
		}
		if v == nil {
			v = view{}
		}
		info.Live = info.Live && !isDead(table)
		v[id] = observed{Info: info, table: table}
		m.at.nodes[id] = info.Dev
	}
	return v, nil
}
