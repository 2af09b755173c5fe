package host

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// A drive that is not used is not healed, and nothing is healed from it.
func TestOnlyUsedDrivesAreHealed(t *testing.T) {
	for _, standing := range []Standing{Foreign, Copy, Ambiguous} {
		mem := blocktest.New()
		h := &Host{Options: Options{Devices: mem, Log: slog.New(slog.DiscardHandler)}, Drives: map[uuid.UUID]*Drive{}}
		own, other := uuid.New(), uuid.New()
		for i, id := range []uuid.UUID{own, other} {
			info := blockdev.Info{Path: []string{"/dev/own", "/dev/other"}[i], Size: 128 * size.MiB}
			mem.AddDisk(info)
			p := catalog.Plex{
				ID: uuid.New(), Slot: catalog.SlotA, Meta: catalog.Extent{Drive: own, Start: 8 * mib, Length: mib},
				Data: []catalog.Extent{{Drive: own, Start: 9 * mib, Length: mib}},
			}
			l := catalog.LUN{ID: uuid.UUID{1}, Name: "web1", Size: mib, Generation: uint64(i + 1), Plexes: []catalog.Plex{p}}
			d := &Drive{Info: info, Store: catalog.Drive{Label: catalog.Label{Drive: id, Size: info.Size}, Catalog: catalog.Catalog{LUNs: []catalog.LUN{l}}}}
			if d.Standing = Used; i == 0 {
				h.Drives[id] = d
				continue
			}
			d.Standing, d.Store.Unheard = standing, true
			h.Others = append(h.Others, d)
		}
		h.merge()
		effects := 0
		mem.OnEffect = func(blocktest.Effect) error { effects++; return nil }
		if err := h.Heal(t.Context()); err != nil || effects > 0 {
			t.Errorf("%s: %v, %d effects", standing, err, effects)
		}
		if l, ok := h.Record(uuid.UUID{1}); !ok || l.Generation != 1 {
			t.Errorf("%s: record %+v", standing, l)
		}
	}
}
