//go:build linux

package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrorText(t *testing.T) {
	tests := []struct {
		name string
		err  Error
		want string
	}{
		{"device", Error{Op: "remove", Device: "plex-a", Err: unix.EBUSY}, `remove "plex-a": device or resource busy`},
		{"no device", Error{Op: "list devices", Err: unix.EACCES}, "list devices: permission denied"},
		{
			"kernel log",
			Error{Op: "load table of", Device: "plex-a", Err: unix.EINVAL, KernelLog: "device-mapper: table: 254:0: raid: Unknown RAID type"},
			`load table of "plex-a": invalid argument (kernel: device-mapper: table: 254:0: raid: Unknown RAID type)`,
		},
		{
			"device in the table",
			Error{Op: "load table of", Device: "plex-a", Err: unix.ENXIO, InTable: true},
			`load table of "plex-a": device in the table: no such device or address`,
		},
		{
			"device that another program has named",
			Error{Op: "remove", Device: "a \"b\" \x1b]0;c\a", Err: unix.EBUSY},
			`remove "a \"b\" \x1b]0;c\a": device or resource busy`,
		},
		{"cancelled", Error{Op: "suspend", Device: "plex-a", Err: context.Canceled}, `suspend "plex-a": context canceled`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	sentinels := []error{ErrNotExist, ErrBusy, ErrNotSupported, os.ErrPermission, fs.ErrNotExist, context.Canceled, unix.EINVAL, unix.ENXIO}
	tests := []struct {
		name string
		err  *Error
		want []error
	}{
		{"missing device", &Error{Err: unix.ENXIO}, []error{ErrNotExist, unix.ENXIO}},
		{"missing device in the table", &Error{Err: unix.ENXIO, InTable: true}, []error{unix.ENXIO}},
		{"missing path in the table", &Error{Err: unix.ENOENT, InTable: true}, []error{fs.ErrNotExist}},
		{"busy", &Error{Err: unix.EBUSY}, []error{ErrBusy}},
		{"unknown command", &Error{Err: unix.ENOTTY}, []error{ErrNotSupported}},
		{"command unknown to an emulator", &Error{Err: unix.ENOSYS}, []error{ErrNotSupported}},
		{"sentinel as cause", &Error{Err: fmt.Errorf("%w (CONFIG_DM_RAID)", ErrNotSupported)}, []error{ErrNotSupported}},
		{"no privilege", &Error{Err: unix.EACCES}, []error{os.ErrPermission}},
		{"refused", &Error{Err: unix.EINVAL}, []error{unix.EINVAL}},
		{"cancelled", &Error{Err: context.Canceled}, []error{context.Canceled}},
		{"something else", &Error{Err: errors.New("reply of the kernel: next out of range")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := fmt.Errorf("activate: %w", tt.err)
			for _, s := range sentinels {
				if got, want := errors.Is(err, s), slices.Contains(tt.want, s); got != want {
					t.Errorf("errors.Is(%v, %v) = %v", err, s, got)
				}
			}
		})
	}
}

func TestErrorCarriesErrno(t *testing.T) {
	err := fmt.Errorf("assemble: %w", &Error{Op: "resume", Device: "plex-a", Err: unix.EIO})
	if errno, ok := errors.AsType[unix.Errno](err); !ok || errno != unix.EIO {
		t.Errorf("errno of %v = %v, %v; want EIO", err, errno, ok)
	}
}
