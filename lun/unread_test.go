package lun_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// A process that lacks open files or memory takes no drive for missing: it changes nothing. A boot would end a copy otherwise, and
// create a second LUN of the same name.
func TestShortageIsNotAbsence(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		t.Run(errno.Error(), func(t *testing.T) {
			w, _, _ := pair(t)
			attached(w, 3)
			w.cut(blocktest.Kept)
			shortage := blocktest.Fault{Kind: "open", Err: errno, Nth: 1}
			w.mem.Fail(w.path(1), shortage)
			if err := w.p.Refresh(t.Context()); !errors.Is(err, vds.ErrOutOfMemory) || !strings.Contains(vds.HintOf(err), "open files") {
				t.Errorf("refresh: %v with hint %q", err, vds.HintOf(err))
			}
			w.mem.Fail(w.path(1), shortage)
			if _, err := w.p.Assemble(t.Context(), lun.AssembleOptions{}); !errors.Is(err, vds.ErrOutOfMemory) {
				t.Errorf("assemble: %v, want E_OUTOFMEMORY", err)
			}
			w.restart()
			if l := w.record("web1"); l.Operation == nil || l.Plexes[1].Stale {
				t.Errorf("the copy was ended: %+v", l)
			}
		})
	}
}

// Only "not there" is no problem. A device that cannot be opened for another reason is named.
func TestDeviceThatCannotBeOpened(t *testing.T) {
	tests := []struct {
		err  error
		want vds.Code // OK: the device is none of plexctl's business
	}{
		{blockdev.ErrNotExist, vds.OK},
		{unix.ENOENT, vds.OK},
		{unix.ENOMEDIUM, vds.OK},
		{unix.EMEDIUMTYPE, vds.OK},
		{unix.EPERM, vds.OK},
		{unix.EACCES, vds.OK},
		{unix.EIO, vds.ErrIO},
		{unix.ETIMEDOUT, vds.ErrIO},
		{unix.EREMOTEIO, vds.ErrIO},
		{unix.EINVAL, vds.ErrProviderFailure},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 2)
			w.mem.Fail(w.path(1), blocktest.Fault{Kind: "open", Err: fmt.Errorf("open: %w", tt.err)})
			w.must(w.p.Refresh(t.Context()))
			if drives := w.p.Drives(); len(drives) != 1 {
				t.Errorf("%d drives, want the other one", len(drives))
			}
			problems := w.p.Problems()
			if tt.want == vds.OK {
				if len(problems) > 0 {
					t.Errorf("problems: %v, want none", problems)
				}
				return
			}
			if len(problems) != 1 || vds.CodeOf(problems[0]) != tt.want || !strings.Contains(problems[0].Error(), w.path(1)) {
				t.Errorf("problems: %v, want one of %s with %v", problems, w.path(1), tt.want)
			}
		})
	}
}

// A read of the drives that is interrupted finds nothing out.
func TestInterruptedReadIsNoAnswer(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 3)
	ctx, cancel := context.WithCancel(t.Context())
	devices := interrupting{w.mem, cancel}
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock})
	w.must(err)
	defer p.Close()
	if err := p.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("refresh: %v, want it interrupted", err)
	}
	if drives := p.Drives(); len(drives) != 3 {
		t.Errorf("%d drives are left of 3", len(drives))
	}
}

// interrupting is devices whose user gives up when one is opened, and that are read to the end all the same.
type interrupting struct {
	*blocktest.Mem
	cancel func()
}

func (d interrupting) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	d.cancel()
	return d.Mem.Open(context.WithoutCancel(ctx), path, mode)
}
