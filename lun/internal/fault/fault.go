// Package fault gives errors of lower layers their VDS code, and collects the reasons against a change.
package fault

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// Of is err with a code found from its cause, unless the chain has a code already; nil for nil. object is the affected object
// by the name that users know.
func Of(op, object string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*vds.Error](err); ok {
		return err
	}
	return &vds.Error{Code: codeFor(err), Op: op, Object: object, Err: err, Hint: hintFor(err)}
}

// codeFor is the VDS code for an error of the system (reference: the common return codes).
func codeFor(err error) vds.Code {
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return vds.ErrAccessDenied
	case errors.Is(err, dm.ErrBusy), errors.Is(err, blockdev.ErrBusy), errors.Is(err, unix.EBUSY):
		return vds.ErrDeviceInUse
	case errors.Is(err, blockdev.ErrNotExist), errors.Is(err, blockdev.ErrNotBlock):
		return vds.ErrObjectNotFound
	case errors.Is(err, unix.EROFS):
		return vds.ErrMediaWriteProtected
	case errors.Is(err, unix.EIO):
		return vds.ErrIO
	case errors.Is(err, unix.ENOMEM):
		return vds.ErrOutOfMemory
	case errors.Is(err, unix.ENOSPC):
		return vds.ErrNotEnoughSpace
	default:
		return vds.ErrProviderFailure
	}
}

func hintFor(err error) string {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return "run plexctl as root"
	}
	return ""
}

// Reasons collects all reasons against a change, so that one error reports them all.
type Reasons struct {
	Op     string
	Object string
	found  []*vds.Error
}

// Add adds a reason. The code of the first one becomes the code of the error.
func (r *Reasons) Add(code vds.Code, hint, format string, args ...any) {
	r.found = append(r.found, &vds.Error{Code: code, Reason: fmt.Sprintf(format, args...), Hint: hint})
}

// Err is nil without reasons, else one error that lists them all.
func (r *Reasons) Err() error {
	if len(r.found) == 0 {
		return nil
	}
	texts := make([]string, len(r.found))
	hint := ""
	for i, e := range r.found {
		texts[i] = e.Reason
		if hint == "" {
			hint = e.Hint
		}
	}
	return &vds.Error{
		Code: r.found[0].Code, Op: r.Op, Object: r.Object, Hint: hint,
		Reason: strings.Join(texts, "; "), Err: nil,
	}
}

// Users lists the users of a device.
func Users(users []blockdev.User) string {
	texts := make([]string, len(users))
	for i, u := range users {
		texts[i] = u.String()
	}
	if len(texts) == 0 {
		return "open"
	}
	return strings.Join(texts, ", ")
}

// Undo adds to an error that taking the change back has failed too.
func Undo(err, undo error) error {
	if undo == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("taking it back: %w", undo))
}

// IsGone reports whether err says that a device-mapper device does not exist.
func IsGone(err error) bool { return errors.Is(err, dm.ErrNotExist) }
