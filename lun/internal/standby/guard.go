//go:build linux

package standby

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/internal/eintr"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/ops"
)

// Guards does the work of a guard if this process was started as one, and reports whether that is so.
func Guards() bool {
	asked.Store(true)
	if len(os.Args) < 3 || os.Args[1] != word {
		return false
	}
	// Signals for a terminal's or a service's processes.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTSTP)
	r, err := newRescue(os.Args[2], os.Args[3:])
	if err == nil {
		err = r.standBy(context.Background(), int(os.Stdin.Fd()), os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "guard of LUN %s: %v\n", os.Args[2], err)
	}
	return true
}

// rescue is what a guard does for its LUN.
type rescue struct {
	id        uuid.UUID
	every     time.Duration              // a beat comes
	suspended func(context.Context) bool // whether the LUN's device is suspended
	// resume resumes the LUN if the first process has died.
	resume func(context.Context) error
	// overtake resumes the LUN if the first process stands still, and reports whether it did.
	overtake func(context.Context) (bool, error)
}

// newRescue makes everything ready for a rescue, so that later only drives have to be read.
func newRescue(lun string, drives []string) (*rescue, error) {
	id, err := uuid.Parse(lun)
	if err != nil {
		return nil, err
	}
	control, err := dm.Open(dm.Options{})
	if err != nil {
		return nil, err
	}
	devices := someDrives{numbers: drives}
	env := &ops.Env{
		Options: host.Options{Kernel: control, Devices: devices, Log: slog.New(slog.DiscardHandler), IDs: devices.IDs(), Workers: len(drives)},
		Held:    true, Now: time.Now, Publish: func(*host.Host) {},
	}
	lockMemory()
	return &rescue{
		id: id, every: beat,
		suspended: func(ctx context.Context) bool { return isSuspended(ctx, control, layout.LUNUUID(id)) },
		resume:    func(ctx context.Context) error { return ops.Resume(ctx, env, id) },
		overtake:  func(ctx context.Context) (bool, error) { return ops.Overtake(ctx, env, id) },
	}, nil
}

// isSuspended reports whether the device with this dm UUID is suspended.
func isSuspended(ctx context.Context, control *dm.Control, dmUUID string) bool {
	devices, err := control.List(ctx)
	i := slices.IndexFunc(devices, func(d dm.Device) bool { return d.UUID == dmUUID })
	if err != nil || i < 0 {
		return false
	}
	info, err := control.Info(ctx, devices[i].Name)
	return err == nil && info.Suspended
}

// someDrives is a host that scans only the drives with these numbers.
type someDrives struct {
	blockdev.Host
	numbers []string
}

// Scan returns those of the drives that are there.
func (s someDrives) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	infos, err := s.Host.Scan(ctx, but...)
	return slices.DeleteFunc(infos, func(i blockdev.Info) bool { return !slices.Contains(s.numbers, i.Dev.String()) }), err
}

// standBy watches the first process, and resumes the LUN when that is needed.
func (r *rescue) standBy(ctx context.Context, pulse int, out, errs io.Writer) error {
	if _, err := io.WriteString(out, readyWord); err != nil {
		return err
	}
	switch watch(pulse, r.every, func() bool { return r.suspended(ctx) }) {
	case died:
		if err := r.resume(ctx); err != nil {
			return err
		}
		fmt.Fprintf(errs, "plexctl: a change of LUN %s was cut off; the LUN is resumed\nhint: complete it with `plexctl assemble`\n", r.id)
	case stands:
		done, err := r.overtake(ctx)
		if err != nil {
			return err
		}
		if done {
			fmt.Fprintf(errs, "plexctl: a change of LUN %s stands still; the LUN is resumed, and the change taken back when it goes on\n", r.id)
		}
	case leaves: // all is well
	}
	return nil
}

// fate is what becomes of the process that has started a guard.
type fate int

// Values of fate.
const (
	leaves fate = iota // it needs no guard any more
	died
	stands // it lives and does not go on
)

// watch returns what becomes of the process that sends beats to the file with this number.
func watch(pulse int, every time.Duration, suspended func() bool) fate {
	got := make([]byte, 64)
	for missing := 0; ; {
		polled := []unix.PollFd{{Fd: int32(pulse), Events: unix.POLLIN}}
		err := eintr.Retry(func() error { _, err := unix.Poll(polled, int(every.Milliseconds())); return err })
		if err == nil && polled[0].Revents == 0 {
			if !suspended() {
				missing = 0
			} else if missing++; missing > patience {
				return stands
			}
			continue
		}
		missing = 0
		var n int
		err = eintr.Retry(func() error { n, err = unix.Read(pulse, got); return err })
		switch {
		case err != nil || n == 0:
			return died
		case bytes.IndexByte(got[:n], sentAway) >= 0:
			return leaves
		}
	}
}
