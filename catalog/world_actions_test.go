package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/size"
)

// plexID is the GUID of a new plex.
func (w *world) plexID() uuid.UUID {
	w.plexes++
	return plexID(w.plexes)
}

// room is a place for a new plex on a drive.
func room(t *rapid.T, s Set, drive uuid.UUID, length size.Sectors) (Plex, bool) {
	free := slices.DeleteFunc(s.Free(drive), func(e Extent) bool { return e.Length < MetaSize.Sectors()+length })
	if len(free) == 0 {
		return Plex{}, false
	}
	e := rapid.SampledFrom(free).Draw(t, "free")
	meta := Extent{Drive: drive, Start: e.Start, Length: MetaSize.Sectors()}
	return Plex{Data: []Extent{{Drive: drive, Start: meta.End(), Length: length}}, Meta: meta, Slot: SlotA}, true
}

// someDrive draws a drive that is there.
func someDrive(t *rapid.T, s Set) uuid.UUID {
	return rapid.SampledFrom(slices.SortedFunc(maps.Keys(s.drives), compareIDs)).Draw(t, "drive")
}

// hasData reports whether a plex holds the data.
func hasData(l LUN, p Plex) bool {
	return !p.Stale && (l.Operation == nil || !slices.Contains(l.Operation.Plexes, p.ID))
}

// spare reports whether an idle LUN can do without a plex.
func spare(l LUN, p Plex) bool {
	others := func(other Plex) bool { return other.ID != p.ID && hasData(l, other) }
	return idle(l) && slices.ContainsFunc(l.Plexes, others)
}

// pickPlex draws a plex that fits, and its LUN.
func pickPlex(t *rapid.T, luns []LUN, fits func(LUN, Plex) bool) (LUN, uuid.UUID, bool) {
	fitting := func(l LUN) []Plex {
		return slices.DeleteFunc(slices.Clone(l.Plexes), func(p Plex) bool { return !fits(l, p) })
	}
	l, ok := pick(t, luns, func(l LUN) bool { return len(fitting(l)) > 0 })
	if !ok {
		return l, uuid.Nil, false
	}
	return l, rapid.SampledFrom(fitting(l)).Draw(t, "plex").ID, true
}

func (w *world) split(t *rapid.T, s Set, luns []LUN) change {
	l, plex, ok := pickPlex(t, luns, func(l LUN, p Plex) bool { return spare(l, p) && hasData(l, p) })
	if !ok {
		return change{}
	}
	w.named++
	put := split(s, l, w.named, plex)
	return change{name: "split", put: put, first: put[1].Drives()}
}

// extend adds an extent to every plex, somewhere.
func (w *world) extend(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, idle)
	if !ok {
		return change{}
	}
	first := l.Drives()
	l.Plexes = slices.Clone(l.Plexes)
	for i := range l.Plexes {
		p, ok := room(t, s, someDrive(t, s), worldLUNSize.Sectors())
		if !ok || len(l.Plexes[i].Data) > 3 {
			return change{}
		}
		l.Plexes[i].Data = append(slices.Clone(l.Plexes[i].Data), p.Data[0])
	}
	l.Size += worldLUNSize.Sectors()
	if l.Validate() != nil { // two plexes were given the same room
		return change{}
	}
	return change{name: "extend", put: []LUN{s.Next(l)}, first: first}
}

func (w *world) rename(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, func(LUN) bool { return true })
	if !ok {
		return change{}
	}
	w.named++
	return change{name: "rename", put: []LUN{s.Next(named(l, fmt.Sprintf("lun%d", w.named)))}}
}

func (w *world) addNew(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, func(l LUN) bool { return idle(l) && len(l.Plexes) < MaxPlexes })
	if !ok {
		return change{}
	}
	p, ok := room(t, s, someDrive(t, s), l.Size)
	if !ok {
		return change{}
	}
	first := l.Drives()
	p.ID = w.plexID()
	l.Plexes = append(slices.Clone(l.Plexes), p)
	return change{name: "new plex", put: []LUN{s.Next(filling(l, p.ID))}, first: first}
}

// cancelNew frees the room of a new plex.
func (w *world) cancelNew(s Set, l LUN) change {
	back := without(l, l.Operation.Plexes...)
	back.Operation = nil
	return change{name: "cancel new plex", put: []LUN{s.Next(back)}}
}

// fail ends an operation without success: its plexes stay, stale.
func (w *world) fail(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, busy)
	if !ok {
		return change{}
	}
	for _, id := range l.Operation.Plexes {
		l = spoil(l, id, true)
	}
	l.Operation = nil
	return change{name: "fail", put: []LUN{s.Next(l)}}
}

func (w *world) recover(t *rapid.T, s Set, luns []LUN) change {
	l, plex, ok := pickPlex(t, luns, func(l LUN, p Plex) bool { return idle(l) && p.Stale })
	if !ok {
		return change{}
	}
	return change{name: "recover", put: []LUN{s.Next(filling(spoil(l, plex, false), plex))}}
}
