// Package fault gives errors of lower layers their VDS code, and collects the reasons against a change.
package fault

import (
	"cmp"
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
	e := &vds.Error{Code: codeFor(err), Op: op, Object: object, Err: err}
	switch e.Code { //nolint:exhaustive // the others need no hint
	case vds.ErrAccessDenied:
		e.Hint = "run plexctl as root"
	case vds.ErrMediaWriteProtected:
		e.Hint = ProtectedHint
	}
	return e
}

// codeFor is the VDS code for an error of the system (reference: the common return codes).
func codeFor(err error) vds.Code {
	switch {
	case errors.Is(err, blockdev.ErrReadOnly), errors.Is(err, unix.EROFS):
		return vds.ErrMediaWriteProtected
	case errors.Is(err, os.ErrPermission): // EACCES and EPERM
		return vds.ErrAccessDenied
	case errors.Is(err, dm.ErrBusy), errors.Is(err, blockdev.ErrBusy), errors.Is(err, unix.EBUSY):
		return vds.ErrDeviceInUse
	case errors.Is(err, blockdev.ErrNotExist), errors.Is(err, blockdev.ErrNotBlock):
		return vds.ErrObjectNotFound
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

// ProtectedHint is the remedy when a device takes no writes.
const ProtectedHint = "make the device writable and try again: its switch, the rights on the array, `blockdev --setrw`"

// Protected is the error about a device that takes no writes.
func Protected(op, path string) *vds.Error {
	return &vds.Error{Code: vds.ErrMediaWriteProtected, Op: op, Object: path, Reason: blockdev.ErrReadOnly.Error(), Hint: ProtectedHint}
}

// Reasons collects all reasons against a change, so that one error reports them all.
type Reasons struct {
	Op     string
	Object string
	err    *vds.Error // nil: none so far
}

// Add adds a reason. The code of the first one becomes the code of the error.
func (r *Reasons) Add(code vds.Code, hint, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if r.err == nil {
		r.err = &vds.Error{Code: code, Op: r.Op, Object: r.Object, Reason: reason, Hint: hint}
		return
	}
	r.err.Reason += "; " + reason
	r.err.Hint = cmp.Or(r.err.Hint, hint)
}

// AddError adds a reason that is an error already.
func (r *Reasons) AddError(e *vds.Error) {
	r.Add(e.Code, e.Hint, "%s", e.Error())
}

// Err is nil without reasons, else one error that lists them all.
func (r *Reasons) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// List is the texts of items, with commas between.
func List[T any](items []T, text func(T) string) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = text(item)
	}
	return strings.Join(texts, ", ")
}

// Users lists the users of a device.
func Users(users []blockdev.User) string {
	if len(users) == 0 {
		return "open"
	}
	return List(users, blockdev.User.String)
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

// Code is the VDS code of any error.
func Code(err error) vds.Code { return vds.CodeOf(Of("", "", err)) }
