package vds

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Error is what an operation of plexctl returns: a VDS code, the object, the reason, and what to do.
//
// errors.Is(err, vds.ErrDeviceInUse) asks for the code; errors.Is and errors.As also reach the cause.
type Error struct {
	Code   Code
	Op     string // what was being done: "add plex"
	Object string // the object, as the user named it: `lun "web1"`
	Reason string // why, in one clause, lower case; may be empty if Err is set
	Hint   string // what the user can do, an imperative sentence; may be empty
	Err    error  // the cause; may be nil
}

// Error is operation, object, reason and cause on one line. The caller prints Code and Hint on lines of their own.
func (e *Error) Error() string {
	parts := []string{strings.TrimSpace(e.Op + " " + e.Object), e.Reason}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return cmp.Or(strings.Join(parts, ": "), e.Code.String())
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's code. So errors.Is(err, vds.ErrIO) needs no type assertion.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// CodeOf is the VDS code of an error: OK for nil, ErrFail for an error whose chain has no failure code.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	code := ErrFail
	if e, ok := errors.AsType[*Error](err); ok {
		code = e.Code
	} else if c, ok := errors.AsType[Code](err); ok {
		code = c
	}
	if !code.Failed() {
		return ErrFail
	}
	return code
}

// HintOf is the first hint in an error's chain, or "". It searches joined errors in their order.
func HintOf(err error) string {
	if e, ok := err.(*Error); ok && e.Hint != "" { //nolint:errorlint // this function walks the chain itself
		return e.Hint
	}
	switch wrapper := err.(type) { //nolint:errorlint // the same
	case interface{ Unwrap() error }:
		return HintOf(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, joined := range wrapper.Unwrap() {
			if hint := HintOf(joined); hint != "" {
				return hint
			}
		}
	}
	return ""
}
