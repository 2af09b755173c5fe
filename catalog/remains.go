package catalog

import (
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// Remains is what can still be read of a damaged drive.
type Remains struct {
	Drives []uuid.UUID // named by labels and catalogs, sorted
	LUNs   []LUN       // with a plex on one of these, by any catalog that can be read, old ones included
	// Unknown says that there is an intact catalog that this plexctl cannot read.
	Unknown bool
}

// ReadRemains reads what it can of a drive that ReadDrive cannot read.
func ReadRemains(m Media, deviceSize size.Bytes) Remains {
	var r Remains
	starts := []size.Bytes{0, TailStart(deviceSize)}
	for _, start := range starts {
		if l, err := readLabel(m, start, deviceSize); err == nil {
			r.Drives = append(r.Drives, l.Drive)
			starts = append(starts, TailStart(l.Size))
		}
	}
	var found []LUN
	for _, start := range starts {
		for _, at := range []size.Bytes{slotOffset, slotOffset + slotSize} {
			if start+at+slotSize <= deviceSize {
				found = append(found, r.addSlot(m, start+at)...)
			}
		}
	}
	r.Drives = sortedIDs(r.Drives)
	for _, l := range found {
		for _, id := range r.Drives {
			if l.on(id) {
				r.LUNs = append(r.LUNs, l)
				break
			}
		}
	}
	return r
}

// addSlot notes the drive that a slot names, and returns its records.
func (r *Remains) addSlot(m Media, at size.Bytes) []LUN {
	first := make([]byte, blockSize)
	if _, err := m.ReadAt(first, int64(at)); err != nil {
		return nil
	}
	d := Drive{Label: Label{Drive: uuid.UUID(first[slotDrive:slotSequence])}}
	f, err := d.readFrame(m, at)
	if err != nil {
		return nil
	}
	r.Drives = append(r.Drives, d.Label.Drive)
	luns, err := decodeBody(f.body)
	if err != nil {
		r.Unknown = true
	}
	return luns
}
