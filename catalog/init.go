package catalog

import (
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// Init makes a device a drive with an empty catalog. label.Size is the device's size; below MinDriveSize it is ErrTooSmall.
//
// Init destroys an old label first. It writes the new one last, after everything that the label stands for is durable, and
// the copy of the label just before. So a crash leaves no drive or a whole one. Init does not touch the space for extents,
// nor signatures of other owners in the first 4 KiB.
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
	slot, err := encodeSlot(label, Catalog{Sequence: 1})
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

// Wipe makes a drive a plain device again. drive is the size in its label. Wipe zeroes and flushes first the labels, then the
// slots. A crash in between leaves the drive as it was, a drive without its first label, or no drive.
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

// Relabel says anew whose the drive is, and on which device: it gives the label Host, Hardware and Created of to. It changes both
// labels and nothing else. It refuses a drive with HeadLost (ErrHeadLost), and text that a label cannot hold (ErrInvalid);
// nothing was written then. After any other error the drive may have the one label or the other: call Relabel again.
//
// Relabel writes and flushes the copy at the end first, then the label. The change takes effect with the label. At every
// moment one of the two is intact. Until the label is rewritten it decides, and a damaged copy is only among Problems. If the
// write damages the label, the drive is one with HeadLost, and its copy already has the new text.
func (d *Drive) Relabel(m Media, to Label) error {
	if err := d.Writable(); err != nil {
		return fmt.Errorf("relabel drive %s: %w", d.Label.Drive, err)
	}
	label := d.Label
	label.Host, label.Hardware, label.Created = to.Host, to.Hardware, to.Created
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
