package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
)

// A guard is plexctl, started by plexctl, that waits while the first one has a LUN suspended. It reads its standard input: a
// byte says that all is well; an end without one, that the first plexctl has died. Then the guard lets the LUN go on. It has
// a session of its own and ignores what ends a terminal's or a service's processes. Beside device nodes, /proc, /sys and the
// host's lock it opens nothing, and its memory is locked, because the LUN may hold the very files that it would read.

// guardPatience is how long a guard may take to be ready.
const guardPatience = 10 * time.Second

// startGuard is the lun.Guard of a machine. This process's memory is locked when the guard is ready, too.
func startGuard(_ context.Context, w lun.Window) (lun.Post, error) {
	in, pulse, err := os.Pipe()
	if err != nil {
		return lun.Post{}, err
	}
	ready, out, err := os.Pipe()
	if err != nil {
		return lun.Post{}, errors.Join(err, in.Close(), pulse.Close())
	}
	guard, err := spawnGuard(w, in, out)
	if err != nil {
		return lun.Post{}, errors.Join(err, pulse.Close(), ready.Close())
	}
	unlock := func() {}
	return lun.Post{
		Ready: func() error {
			if err := awaitGuard(ready); err != nil {
				return errors.Join(err, guard.Kill())
			}
			unlock = lockMemory()
			signal.Ignore(syscall.SIGTSTP) // Ctrl-Z would stop the LUN's users, too
			return nil
		},
		Dismiss: func() {
			signal.Reset(syscall.SIGTSTP)
			unlock()
			pulse.Write([]byte{0}) //nolint:errcheck // a guard that is gone need not be sent away
			pulse.Close()          //nolint:errcheck // same
			ready.Close()          //nolint:errcheck // nothing is written
			guard.Wait()           //nolint:errcheck // same
		},
	}, nil
}

// spawnGuard starts plexctl with these ends of its pipes, and closes them here.
func spawnGuard(w lun.Window, in, out *os.File) (*os.Process, error) {
	defer in.Close()  //nolint:errcheck // the guard's end
	defer out.Close() //nolint:errcheck // same
	args := []string{"plexctl", guardName, w.LUN.String()}
	for _, dev := range w.Drives {
		args = append(args, dev.String())
	}
	return os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Files: []*os.File{in, out, os.Stderr}, Env: os.Environ(), Dir: "/", Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// awaitGuard waits until the guard says that it is ready.
func awaitGuard(ready *os.File) error {
	if err := ready.SetReadDeadline(time.Now().Add(guardPatience)); err != nil {
		return err
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the process that is to stand by does not start: %w", err)
	}
	return nil
}

// guardName is the command that startGuard starts.
const guardName = "guard"

func newGuard(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    guardName + " LUN DRIVE...",
		Short:  "Let a LUN go on when the plexctl that started this one dies",
		Args:   operands("LUN", "DRIVE..."),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return usage(helpHint(cmd), "%q is no GUID", args[0])
			}
			return a.guard(context.WithoutCancel(cmd.Context()), id, args[1:])
		},
	}
}

// guard stands by for a LUN on these drives, by number.
func (a *app) guard(ctx context.Context, id uuid.UUID, drives []string) error {
	wake, err := a.openGuard(drives)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, "ready")
	if n, _ := a.in.Read(make([]byte, 1)); n > 0 {
		return nil
	}
	if err := wake(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "plexctl: a change of LUN %s was cut off; the LUN goes on\nhint: complete it with `plexctl assemble`\n", id)
	return nil
}

// openGuard makes everything ready that waking a LUN takes, so that nothing but drives is read for it.
func openGuard(drives []string) (wake func(context.Context, uuid.UUID) error, err error) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	control, err := dm.Open(dm.Options{})
	if err != nil {
		return nil, controlFault(err)
	}
	opts := lun.Options{Kernel: control, Devices: someDrives{numbers: drives}, Logger: slog.New(slog.DiscardHandler), Hosts: blockdev.Host{}.IDs()}
	lockMemory()
	return func(ctx context.Context, id uuid.UUID) error {
		provider, err := lun.Open(ctx, opts)
		if err != nil {
			return err
		}
		defer provider.Close()
		return provider.Wake(ctx, id)
	}, nil
}

// someDrives is the host with these drives, by number, alone.
type someDrives struct {
	blockdev.Host
	numbers []string
}

// Scan is the drives that there are.
func (s someDrives) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	infos, err := s.Host.Scan(ctx, but...)
	return slices.DeleteFunc(infos, func(i blockdev.Info) bool { return !slices.Contains(s.numbers, i.Dev.String()) }), err
}
