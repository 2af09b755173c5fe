//go:build linux

package dm

import (
	"errors"
	"os"

	"github.com/anatol/devmapper.go"

	"github.com/plexctl/plexctl/internal/eintr"
)

// This file is the only one that uses devmapper.go. The library serves three calls as well as a request of this package
// does. It sends the same bytes, and the caller needs nothing but an errno back. docs/devmapper.md says why it cannot serve
// the others. TestLibraryRequests fails when an update of the library changes one of these facts.

// libraryVersion asks for the version of the interface.
func (c *Control) libraryVersion() (Version, error) {
	var v Version
	err := c.library(func() error {
		major, minor, patch, err := devmapper.GetVersion()
		v = Version{Major: major, Minor: minor, Patch: patch}
		return err
	})
	return v, err
}

// libraryFreeze suspends a device and freezes the file system on it.
func (c *Control) libraryFreeze(name string) error {
	return c.library(func() error { return devmapper.Suspend(name) })
}

// libraryRemove destroys a device.
func (c *Control) libraryRemove(name string) error {
	return c.library(func() error { return devmapper.Remove(name) })
}

// library does a call of devmapper.go, with the errors that c.call would return. The library opens the control node anew,
// so it would still work after Close. The own node is held meanwhile, which makes such a call fail with os.ErrClosed like every
// other. A call that a signal interrupted is repeated, as in ioctl.
func (c *Control) library(do func() error) error {
	var err error
	if c.conn.Control(func(uintptr) { err = eintr.Retry(do) }) != nil {
		return os.ErrClosed
	}
	return libraryErrno(err)
}

// libraryErrno is the errno inside an error of devmapper.go. An error that has none is about opening the control node, and names
// it.
func libraryErrno(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	return err
}
