// Package fault gives errors of lower layers their VDS code, and collects the reasons against a change.
package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
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
	code := codeFor(err)
	return &vds.Error{Code: code, Op: op, Object: object, Err: err, Hint: hintFor(code, err, os.Geteuid() == 0)}
}

// causes is the VDS code for errors of the system (reference: the common return codes). The first row that has the error counts.
//
// The kernel's block layer has an error of its own for most ways in which a device can fail (block/blk-core.c, blk_errors).
var causes = []struct {
	code   vds.Code
	errors []error
}{
	{vds.ErrAbort, []error{context.Canceled}},
	{vds.ErrTimeout, []error{context.DeadlineExceeded}},
	{vds.ErrMediaWriteProtected, []error{blockdev.ErrReadOnly, unix.EROFS}},
	{vds.ErrAccessDenied, []error{os.ErrPermission}}, // EACCES and EPERM
	{vds.ErrDeviceInUse, []error{dm.ErrBusy, blockdev.ErrBusy, unix.EBUSY}},
	{vds.ErrNotSupported, []error{dm.ErrNotSupported, unix.EOPNOTSUPP}},
	{vds.ErrObjectNotFound, []error{dm.ErrNotExist, blockdev.ErrNotExist, blockdev.ErrNotBlock}},
	{vds.ErrOutOfMemory, []error{unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EAGAIN}},
	{vds.ErrNotEnoughSpace, []error{unix.ENOSPC, unix.EDQUOT}},
	{vds.ErrIO, []error{
		unix.EIO, unix.ENODATA, unix.EREMOTEIO, unix.ENOLINK, unix.ETIMEDOUT, unix.EBADE, unix.EILSEQ, unix.ENXIO, unix.ENODEV,
		unix.ENOMEDIUM, unix.ETIME, unix.EREMCHG, unix.ETOOMANYREFS, unix.EOVERFLOW, io.EOF, io.ErrUnexpectedEOF,
	}},
	{vds.ErrNotSupported, []error{catalog.ErrVersion, catalog.ErrReadOnlyFormat}},
	{vds.ErrDiskConfigurationNotSync, []error{
		catalog.ErrConflict, catalog.ErrForked, catalog.ErrDuplicateDrive, catalog.ErrOverlap, catalog.ErrDuplicateName,
	}},
	{vds.ErrDiskConfigurationCorrupt, []error{
		catalog.ErrChecksum, catalog.ErrCorrupt, catalog.ErrInvalid, catalog.ErrHeadLost, catalog.ErrTooSmall,
	}},
}

// codeFor is the VDS code for an error of the system.
func codeFor(err error) vds.Code {
	for _, cause := range causes {
		if slices.ContainsFunc(cause.errors, func(target error) bool { return errors.Is(err, target) }) {
			return cause.code
		}
	}
	return vds.ErrProviderFailure
}

// hintFor is the remedy for an error of the system; "" if none is known.
func hintFor(code vds.Code, err error, root bool) string {
	module := dm.MissingModule(err)
	switch {
	case module != "":
		return "load what the kernel lacks: `modprobe " + module + "`; `plexctl doctor` tells more"
	case code == vds.ErrAccessDenied && root:
		return "plexctl runs as root, so something else forbids it: the device list of a container, a kernel lockdown, a security module"
	case code == vds.ErrAccessDenied:
		return "run plexctl as root"
	case code == vds.ErrMediaWriteProtected:
		return ProtectedHint
	case code == vds.ErrOutOfMemory:
		return "free memory, or allow plexctl more open files (`ulimit -n`), and try again"
	case errors.Is(err, unix.EBADE):
		return "another host has reserved the device"
	}
	return ""
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
