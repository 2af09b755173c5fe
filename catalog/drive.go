package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/plexctl/plexctl/size"
)

// The four slots of a drive.
const (
	headA = iota
	headB
	tailA
	tailB
	slotCount
)

var slotNames = [slotCount]string{"slot a", "slot b", "slot a of the copy", "slot b of the copy"}

// Drive is what ReadDrive found on a device.
type Drive struct {
	Label   Label
	Catalog Catalog
	// HeadLost says that the label was read from its copy at the end. Write refuses such a drive; see ErrHeadLost.
	HeadLost bool
	// CopyLost says that the label was read, and that its copy at the end is missing, damaged, or another one. See Repair.
	CopyLost bool
	// Device is the size of the device that it was read from; 0: not known. See Shrunk and Grown.
	Device size.Bytes
	// Problems is damage in spite of which the drive could be read. The next Write repairs it, or Repair if it is in a label.
	Problems []error
	// Unheard says that the records on the drive have no say in a Set: the drive is another host's, or a copy of another drive.
	// The caller sets it; see Merge.
	Unheard bool

	slots [slotCount]uint64 // sequence of the last that each slot is known to have held; 0: nothing of use
	last  uint64            // highest sequence that any slot may hold
	used  size.Bytes        // of the slot with Catalog
	lost  error             // with HeadLost or CopyLost: why that label cannot be used
}

// slotAt is where a slot is on the drive.
func (d *Drive) slotAt(slot int) size.Bytes {
	at := slotOffset
	if slot == headB || slot == tailB {
		at += slotSize
	}
	if slot >= tailA {
		at += TailStart(d.Label.Size)
	}
	return at
}

// ReadDrive reads label and catalog of a device of the given size. The newest intact slot of the four wins. Damage to other
// parts is in Problems. A device may have grown or shrunk since it was labelled: see Grown and Shrunk.
//
//	ErrNoLabel   the device is no drive
//	ErrVersion   a newer plexctl wrote the drive, even when something else on it is damaged
//	ErrTooSmall  the device has shrunk below MinDriveSize
//	ErrCorrupt   no copy of the label can be used, or none of the catalog
//	ErrInvalid   the newest catalog has a right checksum and wrong content; ReadDrive takes no older one in its place
func ReadDrive(m Media, deviceSize size.Bytes) (Drive, error) {
	d, err := readLabels(m, deviceSize)
	if err != nil {
		return Drive{}, err
	}
	if err := d.readCatalog(m); err != nil {
		return Drive{}, fmt.Errorf("drive %s: %w", d.Label.Drive, err)
	}
	return d, nil
}

// readCatalog fills Catalog from the newest of the slots.
func (d *Drive) readCatalog(m Media) error {
	var newest frame
	var reasons []error
	for slot, name := range slotNames[:d.slotsThere()] {
		f, err := d.readSlot(m, slot)
		for again := 0; again < rereads && err != nil && !unusable(err); again++ {
			f, err = d.readSlot(m, slot) // it may hold the newest catalog: a transient error must not hide it
		}
		if errors.Is(err, ErrVersion) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", name, err))
			continue
		}
		d.slots[slot] = f.sequence
		d.last = max(d.last, f.sequence)
		if f.sequence > newest.sequence {
			newest = f
		}
	}
	if newest.sequence == 0 {
		return fmt.Errorf("catalog: %w: %w", ErrCorrupt, errors.Join(reasons...))
	}
	for _, err := range reasons {
		if !errors.Is(err, errEmpty) {
			d.Problems = append(d.Problems, fmt.Errorf("drive %s: %w", d.Label.Drive, err))
		}
	}
	decoding.Lock()
	defer decoding.Unlock()
	luns, err := decodeBody(newest.body)
	if err == nil {
		d.Catalog = Catalog{Sequence: newest.sequence, Features: newest.features, LUNs: luns}
		d.used = size.Bytes(slotBody + len(newest.body)).RoundUp(blockSize)
		err = d.Catalog.Validate(d.Label)
	}
	return clip(err)
}

// decoding lets one catalog be decoded at a time. Many drives are read at once, and each of them may say what takes most memory.
var decoding sync.Mutex

// slotsThere is how many of the slots the device has.
func (d *Drive) slotsThere() int {
	if d.Shrunk() {
		return tailA
	}
	return slotCount
}

// rereads is how often readCatalog tries again to read a slot after an error of the device.
const rereads = 2

// unusable reports whether err is about the content of a slot, and not about the device.
func unusable(err error) bool {
	for _, reason := range []error{errEmpty, ErrChecksum, ErrInvalid, ErrVersion, ErrCorrupt} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// readSlot reads the used part of a slot and checks it.
func (d *Drive) readSlot(m Media, slot int) (frame, error) { return d.readFrame(m, d.slotAt(slot)) }

// readFrame is readSlot for the slot at a place.
func (d *Drive) readFrame(m Media, at size.Bytes) (frame, error) {
	b := make([]byte, blockSize)
	if _, err := m.ReadAt(b, int64(at)); err != nil {
		return frame{}, err
	}
	used, err := slotLen(b)
	if err != nil {
		return frame{}, err
	}
	if whole := int(size.Bytes(used).RoundUp(blockSize)); whole > blockSize {
		first := b
		b = make([]byte, whole)
		copy(b, first)
		if _, err := m.ReadAt(b[blockSize:], int64(at)+blockSize); err != nil {
			return frame{}, err
		}
	}
	return decodeSlot(d.Label.Drive, b)
}

// Write makes luns the catalog of the drive; it sorts them. It writes and flushes the older slot, which is the commit point.
// Then it writes and flushes the older slot of the copy at the end.
//
// Nothing was written when the error is ErrInvalid, ErrOverlap, ErrFull, ErrHeadLost, ErrTooSmall or ErrReadOnlyFormat. Any
// other failure is a WriteError, which says whether the commit point was passed. Write may be called again after any error.
func (d *Drive) Write(m Media, luns []LUN) error {
	if err := d.Writable(); err != nil {
		return fmt.Errorf("write catalog of drive %s: %w", d.Label.Drive, err)
	}
	next := Catalog{Sequence: d.last + 1, Features: d.Catalog.Features, LUNs: sortedLUNs(luns)}
	if err := next.Validate(d.Label); err != nil {
		return fmt.Errorf("write catalog of drive %s: %w", d.Label.Drive, err)
	}
	data, err := encodeSlot(d.Label, next)
	if err == nil && len(data) > int(slotSize-reserve) && plexes(next.LUNs) > plexes(d.Catalog.LUNs) {
		err = fmt.Errorf("catalog of %d bytes: the last %s are for the failures of what it has: %w", len(data), reserve, ErrFull)
	}
	if err != nil {
		return fmt.Errorf("write catalog of drive %s: %w", d.Label.Drive, err)
	}
	if err := d.put(m, d.older(headA, headB), next.Sequence, data); err != nil {
		return &WriteError{Drive: d.Label.Drive, Err: err}
	}
	d.Catalog, d.used = next, size.Bytes(len(data))
	if err := d.put(m, d.older(tailA, tailB), next.Sequence, data); err != nil {
		return &WriteError{Drive: d.Label.Drive, Committed: true, Err: err}
	}
	return nil
}

// reserve is the part of a slot that takes no new plex. So a full catalog can still record that a plex has failed, or how an
// operation has ended.
const reserve = 64 * size.KiB

// Roomy reports whether the catalog takes less than half of its slot. Then records may say more than they must. What they must say may
// grow into the rest.
func (d *Drive) Roomy() bool { return d.used < slotSize/2 }

// plexes is how many plexes records have.
func plexes(luns []LUN) int {
	n := 0
	for _, l := range luns {
		n += len(l.Plexes)
	}
	return n
}

// Writable is why plexctl must not write to the drive: ErrHeadLost, ErrTooSmall or ErrReadOnlyFormat. It is nil when it may.
func (d *Drive) Writable() error {
	unknown := d.Label.Features.ReadOnly | d.Catalog.Features.ReadOnly
	switch {
	case d.Shrunk():
		return shrunk(d.Label, d.Device)
	case unknown != 0:
		return fmt.Errorf("feature %#x: %w", unknown, ErrReadOnlyFormat)
	case d.HeadLost:
		return ErrHeadLost
	}
	return nil
}

// older is the one of two slots that may be overwritten.
func (d *Drive) older(a, b int) int {
	if d.slots[b] < d.slots[a] {
		return b
	}
	return a
}

// put writes a slot and flushes. If that fails, nothing is known about the slot, and it still counts as the older one. So the
// next attempt goes to it again, with a higher sequence, and never to the slot that is known to be good.
func (d *Drive) put(m Media, slot int, sequence uint64, data []byte) error {
	d.last = sequence
	if err := writeSync(m, data, d.slotAt(slot)); err != nil {
		return fmt.Errorf("%s: %w", slotNames[slot], err)
	}
	d.slots[slot] = sequence
	return nil
}

// sortedLUNs is a sorted copy. Its slices are shared with luns.
func sortedLUNs(luns []LUN) []LUN {
	sorted := slices.Clone(luns)
	slices.SortStableFunc(sorted, func(a, b LUN) int {
		return cmp.Or(compareIDs(a.ID, b.ID), cmp.Compare(a.Generation, b.Generation))
	})
	return sorted
}

// writeSync writes and flushes.
func writeSync(m Media, data []byte, at size.Bytes) error {
	if _, err := m.WriteAt(data, int64(at)); err != nil {
		return err
	}
	return m.Sync()
}
