package layout

import (
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
)

// Fit says how a live table fits the runs that it should map. A greater one is worse.
type Fit int

// Values of Fit.
const (
	Fits      Fit = iota // it maps these runs
	Moved                // it maps the same sectors of other devices, as when a drive has come back under another number
	Elsewhere            // it maps something else
)

// Stray is a drive that has come back under another number, and the device that a table still uses for it.
type Stray struct {
	Drive uuid.UUID
	Old   devno.No
}

// FitOf compares a linear table with the runs that it should map. A drive that is not here may have any number. The Stray belongs to
// Moved.
func FitOf(runs []Run, t dm.Table, at Numbers) (Fit, Stray) {
	var stray Stray
	fit := Fits
	if len(runs) != len(t) {
		fit = Elsewhere
	}
	for i := 0; i < len(t) && fit != Elsewhere; i++ {
		linear, ok := t[i].Target.(dm.Linear)
		r, dev := runs[i], at.Drives[runs[i].Drive]
		switch {
		case !ok || linear.Offset != r.Start || t[i].Length != r.Length:
			fit = Elsewhere
		case !dev.IsZero() && dev != linear.Dev:
			fit, stray = Moved, Stray{r.Drive, linear.Dev}
		}
	}
	return fit, stray
}

// PlexRuns is what a private device of a plex should map, by its dm UUID. length is the device's size: a change that makes the LUN
// larger may be under way.
func PlexRuns(l catalog.LUN, p catalog.Plex, dmUUID string, length size.Sectors) []Run {
	for _, slot := range []catalog.Slot{catalog.SlotA, catalog.SlotB} {
		if dmUUID == MetaUUID(l, p, slot) {
			at := record.SlotExtent(p, slot)
			return []Run{{Drive: at.Drive, Start: at.Start, Length: at.Length}}
		}
	}
	return RunsOf(p.Data, length)
}
