package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev/apart"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// host is the machine that commands work on.
type host struct {
	*lun.Provider
	devices lun.Devices
	now     func() time.Time
	close   func()
}

// openHost opens the kernel's device-mapper and reads all drives of this host.
func openHost(ctx context.Context, opts lun.Options) (*host, error) {
	control, err := dm.Open(dm.Options{Logger: opts.Logger})
	if err != nil {
		return nil, controlFault(err)
	}
	devices := apart.New(startReader, filepath.Dir(lun.DefaultLockPath))
	opts.Kernel, opts.Devices, opts.Guard = control, devices, standBy
	provider, err := lun.Open(ctx, opts)
	if err != nil {
		devices.Close()
		control.Close() //nolint:errcheck // err says more
		return nil, err
	}
	return &host{Provider: provider, devices: devices, now: time.Now, close: func() {
		provider.Close()
		devices.Close()
		control.Close() //nolint:errcheck // nothing is buffered in it
	}}, nil
}

// standBy is lun.StandBy, and keeps Ctrl-Z from stopping the LUN's users, too.
func standBy(ctx context.Context, w lun.Window) (lun.Post, error) {
	post, err := lun.StandBy(ctx, w)
	if err != nil {
		return post, err
	}
	ready, dismiss := post.Ready, post.Dismiss
	post.Ready = func() error {
		signal.Ignore(syscall.SIGTSTP)
		return ready()
	}
	post.Dismiss = func() {
		signal.Reset(syscall.SIGTSTP)
		dismiss()
	}
	return post, nil
}

// controlFault gives an error of opening device-mapper a code and a hint.
func controlFault(err error) error {
	fault := &vds.Error{Code: vds.ErrProviderFailure, Err: err, Hint: "`plexctl doctor` says what is missing"}
	switch {
	case errors.Is(err, os.ErrPermission):
		fault.Code, fault.Hint = vds.ErrAccessDenied, "run plexctl with CAP_SYS_ADMIN: in a container, a privileged one"
	case errors.Is(err, dm.ErrNotSupported):
		fault.Code = vds.ErrNotSupported
	}
	return fault
}

// examineHost gathers what doctor judges. The kernel may load modules of targets that it is asked for.
func examineHost(ctx context.Context) facts {
	f := facts{lockDir: filepath.Dir(lun.DefaultLockPath)}
	var name unix.Utsname
	_ = unix.Uname(&name) // it cannot fail
	f.release = unix.ByteSliceToString(name.Release[:])
	_, err := os.Stat("/run/udev/control")
	f.udev = err == nil
	f.lockErr = writable(f.lockDir)
	f.lvmFilter = filtersPlexes("/etc/lvm")
	f.kernel, f.devices, f.dmErr = examineKernel(ctx)
	return f
}

func examineKernel(ctx context.Context) (dm.Report, []dm.Device, error) {
	control, err := dm.Open(dm.Options{})
	if err != nil {
		return dm.Report{}, nil, err
	}
	defer control.Close() //nolint:errcheck // nothing is buffered in it
	report, err := control.Probe(ctx)
	if err != nil {
		return dm.Report{}, nil, err
	}
	devices, err := control.List(ctx)
	return report, devices, err
}

// writable returns an error if no file can be made in dir, or in the nearest directory above it that exists.
func writable(dir string) error {
	err := unix.Access(dir, unix.W_OK)
	if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
		return writable(filepath.Dir(dir))
	}
	return err
}
