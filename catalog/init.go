package catalog

import (
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// Init makes a device a drive with an empty catalog. label.Size is the device's size; below MinDriveSize is ErrTooSmall.
//
// An old label is destroyed first, the new one is written last, after everything it stands for is durable: at any point a
// crash leaves no drive or a whole one (its copy of the label is written just before its label). Contents of the space for
// extents are not touched, signatures of other owners in the first 4 KiB neither.
func Init(m Media, label Label) error {
	if label.Size < MinDriveSize {
		return fmt.Errorf("initialise drive %s: device of %s, a drive needs %s: %w", label.Drive, label.Size, MinDriveSize, ErrTooSmall)
	}
	block, err := encodeLabel(label)
	if err != nil {
		return fmt.Errorf("initialise: %w", err)
	}
	if err := initialise(m, label, block); err != nil {
		return fmt.Errorf("initialise drive %s: %w", label.Drive, err)
	}
	return nil
}

func initialise(m Media, label Label, block []byte) error {
	slot, err := encodeSlot(label.Drive, Catalog{Sequence: 1})
	if err != nil {
		return err
	}
	if err := Wipe(m, label.Size); err != nil {
		return err
	}
	d := Drive{Label: label}
	for _, s := range []int{tailA, headA} {
		if err := writeSync(m, slot, d.slotAt(s)); err != nil {
			return err
		}
	}
	return writeLabels(m, label, block)
}

// writeLabels writes the copy at the end, then the label.
func writeLabels(m Media, label Label, block []byte) error {
	if err := writeSync(m, block, TailStart(label.Size)+labelOffset); err != nil {
		return err
	}
	return writeSync(m, block, labelOffset)
}

// Wipe makes a drive of the given size, which is the one in its label, a plain device again: labels first, flushed, then
// the slots, flushed. A crash in between leaves the drive as it was, a drive without its first label, or no drive.
func Wipe(m Media, drive size.Bytes) error {
	if drive < MinDriveSize {
		return fmt.Errorf("wipe label: device of %s: %w", drive, ErrTooSmall)
	}
	starts := []size.Bytes{0, TailStart(drive)}
	for _, start := range starts {
		if err := writeSync(m, make([]byte, blockSize), start+labelOffset); err != nil {
			return fmt.Errorf("wipe label: %w", err)
		}
	}
	zeros := make([]byte, slotSize)
	for _, start := range starts {
		for _, at := range []size.Bytes{slotOffset, slotOffset + slotSize} {
			if _, err := m.WriteAt(zeros, int64(start+at)); err != nil {
				return fmt.Errorf("wipe catalog: %w", err)
			}
		}
	}
	if err := m.Sync(); err != nil {
		return fmt.Errorf("wipe catalog: %w", err)
	}
	return nil
}

// Repair writes both labels anew and then the catalog, for a drive with HeadLost or with a damaged label among its
// Problems. The caller has made sure that nobody else has taken the device meanwhile. Errors are those of Write.
func (d *Drive) Repair(m Media) error {
	block, err := encodeLabel(d.Label)
	if err != nil {
		return fmt.Errorf("repair drive %s: %w", d.Label.Drive, err)
	}
	if err := writeLabels(m, d.Label, block); err != nil {
		return &WriteError{Drive: d.Label.Drive, Err: err}
	}
	d.HeadLost = false
	return d.Write(m, d.Catalog.LUNs)
}

// Relabel makes the drive one that a host of the given id has taken over: its label and the copy of it say so, all else
// on the drive stays. A drive with HeadLost is refused (ErrHeadLost), an id that a label cannot hold is ErrInvalid; nothing
// was written then. After any other error the drive may be of the one host or the other: call it again.
//
// The copy at the end is written and flushed first, then the label, which is the moment the change takes effect. So at any
// point one of the two is whole. While that is the label, the drive is read as before, and damage to the copy is only among
// Problems; a label that is damaged makes the drive one with HeadLost, and by then the copy names the new host.
func (d *Drive) Relabel(m Media, host string) error {
	if d.HeadLost {
		return fmt.Errorf("relabel drive %s: %w", d.Label.Drive, ErrHeadLost)
	}
	label := d.Label
	label.Host = host
	block, err := encodeLabel(label)
	if err != nil {
		return fmt.Errorf("relabel: %w", err)
	}
	if err := writeLabels(m, label, block); err != nil {
		return fmt.Errorf("relabel drive %s: %w", label.Drive, err)
	}
	d.Label = label
	return nil
}
