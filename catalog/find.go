package catalog

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// readLabels reads both labels. The one at the start decides, if it can be read.
func readLabels(m Media, deviceSize size.Bytes) (Drive, error) {
	head, headErr := readLabel(m, 0, deviceSize)
	if errors.Is(headErr, ErrVersion) {
		return Drive{}, fmt.Errorf("label: %w", headErr)
	}
	if headErr == nil && deviceSize < head.Size {
		return Drive{}, shrunk(head, deviceSize)
	}
	start := TailStart(deviceSize)
	if headErr == nil {
		start = TailStart(head.Size)
	}
	tail, tailErr := readTail(m, start, deviceSize)
	switch {
	case errors.Is(tailErr, ErrVersion):
		return Drive{}, fmt.Errorf("copy of the label: %w", tailErr)
	case headErr == nil && tailErr == nil && head.equal(tail):
		return Drive{Label: head}, nil
	case headErr == nil:
		err := cmp.Or(tailErr, differs(head, tail))
		return Drive{Label: head, Problems: []error{fmt.Errorf("drive %s: copy of the label: %w", head.Drive, err)}}, nil
	case tailErr == nil:
		err := fmt.Errorf("drive %s: %w: %w", tail.Drive, ErrHeadLost, headErr)
		return Drive{Label: tail, HeadLost: true, Problems: []error{err}}, nil
	}
	return Drive{}, labelError(headErr, tailErr)
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
	if deviceSize < tail.Size {
		return Label{}, shrunk(tail, deviceSize)
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
