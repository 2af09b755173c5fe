package catalog

import (
	"errors"
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// Shrunk reports whether the device has become too small for its label. Then the copies at the end are gone, and extents may be.
// Nothing is written to such a drive, and it has no free space.
func (d *Drive) Shrunk() bool { return d.Device != 0 && TailStart(d.Device) < TailStart(d.Label.Size) }

// Grown is how much room the device has got since it was labelled. Grow makes it usable.
func (d *Drive) Grown() size.Bytes {
	return max(TailStart(d.Device), TailStart(d.Label.Size)) - TailStart(d.Label.Size)
}

// Has reports whether all extents that a LUN has on the drive lie on the device.
func (d *Drive) Has(l LUN) bool {
	for _, c := range claimsOf(&l) {
		if c.extent.Drive == d.Label.Drive && d.Shrunk() && c.extent.End().Bytes() > d.Device {
			return false
		}
	}
	return true
}

// Grow makes the drive as large as its device. The errors are those of Write, and ErrInvalid when the device has not grown. The
// drive of a device whose label was torn by an earlier Grow is repaired.
//
// The start of the drive has all that there is, and stays as it is until the new size is written to its label. This is the order;
// each step is flushed before the next:
//
//	catalog         at the start, and at the old end
//	catalog, label  at the new end, which may overlap the old one
//	label           at the start: from here on the drive has its new size. If it is torn, its copy at the new end is read
//	old end         its label is wiped, because extents may come to lie there
//	catalog         at the start, and at the new end
//
// After any error, read the drive again before it is used.
func (d *Drive) Grow(m Media) error {
	if errors.Is(d.lost, ErrChecksum) && d.HeadLost {
		return d.Repair(m, false)
	}
	if d.Grown() == 0 {
		return invalid("grow drive %s: the device has %d bytes, its label says %d", d.Label.Drive, d.Device, d.Label.Size)
	}
	if err := d.Write(m, d.Catalog.LUNs); err != nil {
		return err
	}
	from := TailStart(d.Label.Size)
	grown := *d
	grown.Label.Size = d.Device
	if err := grown.moveTail(m); err != nil {
		return &WriteError{Drive: d.Label.Drive, Committed: true, Err: fmt.Errorf("grow: %w", err)}
	}
	*d = grown
	if err := writeSync(m, make([]byte, blockSize), from+labelOffset); err != nil {
		return &WriteError{Drive: d.Label.Drive, Committed: true, Err: fmt.Errorf("wipe label at the old end: %w", err)}
	}
	return d.Write(m, d.Catalog.LUNs)
}

// moveTail writes the catalog and the label to the end that the label of d names, and then the label.
func (d *Drive) moveTail(m Media) error {
	block, err := encodeLabel(d.Label)
	if err != nil {
		return err
	}
	next := Catalog{Sequence: d.last + 1, Features: d.Catalog.Features, LUNs: d.Catalog.LUNs}
	data, err := encodeSlot(d.Label, next)
	if err != nil {
		return err
	}
	d.slots[tailB] = 0
	if _, err := m.WriteAt(make([]byte, blockSize), int64(d.slotAt(tailB))); err != nil {
		return err
	}
	if err := d.put(m, tailA, next.Sequence, data); err != nil {
		return err
	}
	return writeLabels(m, d.Label, block)
}
