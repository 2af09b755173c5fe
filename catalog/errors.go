package catalog

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Errors about one drive. They are wrapped with the drive and the place.
var (
	// ErrNoLabel means that the device is no plexctl drive: neither its start nor its end has a label.
	ErrNoLabel = errors.New("no plexctl label")
	// ErrVersion means that a newer plexctl wrote this. It is not damage, and nothing may be written to the drive.
	ErrVersion = errors.New("unsupported version")
	// ErrReadOnlyFormat means that a newer plexctl wrote this, and that this one can read it and must not write it.
	ErrReadOnlyFormat = errors.New("written by a newer version, which forbids this one to write")
	// ErrChecksum means that a label or a slot is torn or damaged.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrCorrupt means that a drive has a label, but no copy of it or of the catalog can be used.
	ErrCorrupt = errors.New("corrupt")
	// ErrInvalid means that plexctl never writes such a value.
	ErrInvalid = errors.New("invalid")
	// ErrFull means that the records do not fit a catalog slot.
	ErrFull = errors.New("catalog is full")
	// ErrTooSmall means that a device is smaller than a drive must be, or than its label says.
	ErrTooSmall = errors.New("device is too small")
	// ErrHeadLost means that the label at the start of a drive is gone while its copy at the end is there. Another program may
	// have overwritten the start, so nothing but Drive.Repair writes to such a drive.
	ErrHeadLost = errors.New("label at the start of the drive is lost")
)

// errBlank is ErrNoLabel where a label should be and there are zeros.
var errBlank = fmt.Errorf("%w, but zeros", ErrNoLabel)

// Errors about several drives together, carried by a Problem.
var (
	// ErrConflict means that two different records of a LUN have the same generation.
	ErrConflict = errors.New("conflicting records")
	// ErrForked means that copies of a LUN were started without each other, and each was changed. plexctl cannot know which one is
	// to be kept.
	ErrForked = errors.New("forked histories")
	// ErrDuplicateDrive means that two devices carry the same drive GUID: one is a copy of the other.
	ErrDuplicateDrive = errors.New("duplicate drive")
	// ErrOverlap means that two LUNs claim the same sectors.
	ErrOverlap = errors.New("overlapping extents")
	// ErrDuplicateName means that two LUNs have the same name. Both can be used, by GUID.
	ErrDuplicateName = errors.New("duplicate name")
)

// WriteError is a write of a drive's catalog that did not complete. Err is the cause.
type WriteError struct {
	Drive uuid.UUID
	// Committed says that the new catalog is durable at the start of the drive, and only its copy at the end may be missing.
	// When it is false, the new catalog may or may not be there after a restart. Read the drive again before you decide.
	Committed bool
	Err       error
}

// Error names the drive and says whether the change is durable.
func (e *WriteError) Error() string {
	if e.Committed {
		return fmt.Sprintf("write catalog copy of drive %s: %v (the change itself is durable)", e.Drive, e.Err)
	}
	return fmt.Sprintf("write catalog of drive %s: %v", e.Drive, e.Err)
}

// Unwrap is the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// invalid is an ErrInvalid with the given text before it.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrInvalid)...)
}
