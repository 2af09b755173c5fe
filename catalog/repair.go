package catalog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// LabelLost reports whether the label or its copy is to be written anew: see Repair.
func (d *Drive) LabelLost() bool { return d.HeadLost || d.CopyLost }

// SlotsDamaged reports whether a catalog of the drive is among its problems.
func (d *Drive) SlotsDamaged() bool {
	return len(d.Problems) > 1 || len(d.Problems) == 1 && !d.LabelLost()
}

// Blank reports whether nobody else has written into the place of the lost label, so far as that place shows. It has zeros, or the
// rest of a label whose write was cut off.
func (d *Drive) Blank() bool { return errors.Is(d.lost, errBlank) || errors.Is(d.lost, ErrChecksum) }

// Repair writes a lost label anew, from the other one. It changes nothing where both are in order. The errors are those of Write.
//
// The caller must have made sure that nobody else uses the device. With wipe both ends are written anew, and what others have
// written there goes. Extents stay as they are.
//
// An end is written anew in this order; each step is flushed before the next:
//
//	catalog       at the other end, which has a label
//	this end      zeros, then the catalog
//	label         at this end. It is read back before the other end is touched
//
// So one end has a label and the newest catalog at every moment. A crash leaves the drive repaired, or as one whose label, or whose
// copy, is lost. After any error, read the drive again before it is used.
func (d *Drive) Repair(m Media, wipe bool) error {
	if !d.LabelLost() && !wipe {
		return nil
	}
	whole := *d
	whole.HeadLost = false
	block, err := encodeLabel(d.Label)
	next := Catalog{Sequence: d.last + 1, Features: d.Catalog.Features, LUNs: d.Catalog.LUNs}
	var data []byte
	if err == nil {
		data, err = encodeSlot(d.Label, next)
	}
	if err = cmp.Or(whole.Writable(), err); err != nil {
		return fmt.Errorf("repair drive %s: %w", d.Label.Drive, err)
	}
	lost := headA
	if d.CopyLost {
		lost = tailA
	}
	err = d.rebuild(m, lost, block, data)
	if err == nil && wipe {
		err = d.rebuild(m, tailA-lost, block, data)
	}
	if err != nil {
		return &WriteError{Drive: d.Label.Drive, Err: err}
	}
	d.Catalog, d.HeadLost, d.CopyLost, d.lost, d.Problems = next, false, false, nil, nil
	return nil
}

// rebuild writes one end of a drive anew, that of a first slot, and reads it back. The other end has a label.
func (d *Drive) rebuild(m Media, slot int, block, data []byte) error {
	sequence := binary.LittleEndian.Uint64(data[slotSequence:])
	other := tailA - slot
	if err := d.put(m, d.older(other, other+1), sequence, data); err != nil {
		return err
	}
	start := d.slotAt(slot) - slotOffset
	if _, err := m.WriteAt(make([]byte, FirstExtent), int64(start)); err != nil {
		return err
	}
	d.slots[slot], d.slots[slot+1] = 0, 0
	err := m.Sync()
	if err == nil {
		err = d.put(m, slot, sequence, data)
	}
	if err == nil {
		err = writeSync(m, block, start+labelOffset)
	}
	if err == nil {
		_, err = readLabel(m, start, start+FirstExtent)
	}
	if err == nil {
		_, err = d.readSlot(m, slot)
	}
	return err
}
