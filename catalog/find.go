package catalog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// readLabels reads both labels. The one at the start decides, if it can be read, and it says where its copy is. If it cannot, the
// copy is looked for at the end of the device, and where the device ended before it has grown.
func readLabels(m Media, deviceSize size.Bytes) (Drive, error) {
	head, headErr := readLabel(m, 0, deviceSize)
	if errors.Is(headErr, ErrVersion) {
		return Drive{}, fmt.Errorf("label: %w", headErr)
	}
	if headErr == nil && TailStart(deviceSize) < TailStart(head.Size) {
		return readShrunk(head, deviceSize)
	}
	var tail Label
	var tailErr error
	if headErr == nil {
		tail, tailErr = readTail(m, TailStart(head.Size), deviceSize)
	} else {
		tail, tailErr = findTail(m, deviceSize)
	}
	switch {
	case errors.Is(tailErr, ErrVersion):
		return Drive{}, fmt.Errorf("copy of the label: %w", tailErr)
	case headErr == nil && tailErr == nil && head.equal(tail):
		return Drive{Label: head, Device: deviceSize}, nil
	case headErr == nil:
		lost := cmp.Or(tailErr, differs(head, tail))
		err := fmt.Errorf("drive %s: copy of the label: %w", head.Drive, lost)
		return Drive{Label: head, Device: deviceSize, CopyLost: true, lost: lost, Problems: []error{err}}, nil
	case tailErr == nil:
		err := fmt.Errorf("drive %s: %w: %w", tail.Drive, ErrHeadLost, headErr)
		return Drive{Label: tail, Device: deviceSize, HeadLost: true, lost: headErr, Problems: []error{err}}, nil
	}
	return Drive{}, labelError(headErr, tailErr)
}

// readShrunk is the drive of a label on a device that is too small for it.
func readShrunk(head Label, deviceSize size.Bytes) (Drive, error) {
	err := shrunk(head, deviceSize)
	if deviceSize < MinDriveSize {
		return Drive{}, err
	}
	return Drive{Label: head, Device: deviceSize, Problems: []error{err}}, nil
}

// findTail finds the copy of a label that is lost.
func findTail(m Media, deviceSize size.Bytes) (Label, error) {
	tail, err := readTail(m, TailStart(deviceSize), deviceSize)
	if err == nil || errors.Is(err, ErrVersion) {
		return tail, err
	}
	for _, at := range []size.Bytes{slotOffset, slotOffset + slotSize} {
		if former, ok := readFormerTail(m, at, deviceSize); ok {
			return former, nil
		}
	}
	return tail, err
}

// readFormerTail reads the copy of a label on a device that has grown since. The slot at a place leads to it. It reports false when
// there is none of the same drive.
func readFormerTail(m Media, slot, deviceSize size.Bytes) (Label, bool) {
	if deviceSize < MinDriveSize {
		return Label{}, false
	}
	first := make([]byte, blockSize)
	if _, err := m.ReadAt(first, int64(slot)); err != nil || string(first[:slotVersion]) != slotMagic {
		return Label{}, false
	}
	start := TailStart(driveSize(first))
	if binary.LittleEndian.Uint32(first[slotVersion:]) != slotFormat || start == 0 || start >= TailStart(deviceSize) {
		return Label{}, false
	}
	tail, err := readTail(m, start, deviceSize)
	return tail, err == nil && tail.Drive == uuid.UUID(first[slotDrive:slotSequence])
}

// labelError says why a device without a usable label is no drive.
func labelError(head, tail error) error {
	switch {
	case errors.Is(head, ErrNoLabel) && errors.Is(tail, ErrNoLabel):
		return ErrNoLabel
	case damaged(head) || damaged(tail):
		return fmt.Errorf("label: %w: %s; its copy: %s", ErrCorrupt, head.Error(), tail.Error()) // as texts: the device has the error of neither
	case errors.Is(head, ErrNoLabel):
		return fmt.Errorf("copy of the label: %w", tail)
	}
	return fmt.Errorf("label: %w", head)
}

// damaged reports whether err says that a label was there.
func damaged(err error) bool { return errors.Is(err, ErrChecksum) || errors.Is(err, ErrInvalid) }

// readLabel reads the label behind start.
func readLabel(m Media, start, deviceSize size.Bytes) (Label, error) {
	if deviceSize < start+labelOffset+blockSize {
		return Label{}, ErrNoLabel
	}
	b := make([]byte, blockSize)
	if _, err := m.ReadAt(b, int64(start+labelOffset)); err != nil {
		return Label{}, err
	}
	return decodeLabel(b)
}

// readTail reads the copy of the label at the end of a drive. It does not take a copy whose drive ends elsewhere, because a
// whole disk shares its end with its last partition.
func readTail(m Media, start, deviceSize size.Bytes) (Label, error) {
	if deviceSize < MinDriveSize {
		return Label{}, ErrNoLabel
	}
	tail, err := readLabel(m, start, deviceSize)
	if err != nil {
		return Label{}, err
	}
	if TailStart(tail.Size) != start {
		return Label{}, ErrNoLabel
	}
	return tail, nil
}

// differs says how an intact copy of a label differs from it.
func differs(head, tail Label) error {
	if head.Drive == tail.Drive {
		return invalid("differs from the label")
	}
	return invalid("is of drive %s", tail.Drive)
}

// shrunk says that a device is smaller than its label says.
func shrunk(l Label, deviceSize size.Bytes) error {
	return fmt.Errorf("drive %s: %d bytes, its label says %d: %w", l.Drive, deviceSize, l.Size, ErrTooSmall)
}
