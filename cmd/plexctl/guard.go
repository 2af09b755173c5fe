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
// byte says that all is well; an end without one, that the first plexctl has died. Then the guard resumes the LUN. It has a
// session of its own and ignores what ends a terminal's or a service's processes. The LUN may hold the very files that a
// guard would read. So it opens only device nodes, /proc, /sys and the host's lock, and its memory is locked.

// guardTimeout is how long a guard may take to be ready.
const guardTimeout = 10 * time.Second

// startGuard is the lun.Guard of the real host. When the guard is ready, it locks this process's memory, too.
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
	if err := ready.SetReadDeadline(time.Now().Add(guardTimeout)); err != nil {
		return err
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the process that is to stand by does not start: %w", err)
	}
	return nil
}

// guardName is the command that startGuard starts.
const guardName = "guard"

func newGuard(c *cli) *cobra.Command {
	var name string
	var drives []string // by number
	cmd := &cobra.Command{
		Use:    guardName + " LUN DRIVE...",
		Short:  "Resume a LUN when the plexctl that started this one dies",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := uuid.Parse(name)
			if err != nil {
				return usage(helpHint(cmd), "%q is no GUID", name)
			}
			resume, err := c.openGuard(drives)
			if err != nil {
				return err
			}
			return guard(context.WithoutCancel(cmd.Context()), c.streams, id, resume)
		},
	}
	c.takes(cmd, one("LUN", &name, nil), all("DRIVE...", &drives, nil))
	return cmd
}

// guard stands by for a LUN, and resumes it when the plexctl that changes it dies.
func guard(ctx context.Context, s streams, id uuid.UUID, resume func(context.Context, uuid.UUID) error) error {
	fmt.Fprintln(s.out, "ready")
	if n, _ := s.in.Read(make([]byte, 1)); n > 0 {
		return nil
	}
	if err := resume(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "plexctl: a change of LUN %s was cut off; the LUN is resumed\nhint: complete it with `plexctl assemble`\n", id)
	return nil
}

// openGuard prepares everything for resuming a LUN, so that later only drives have to be read.
func openGuard(drives []string) (resume func(context.Context, uuid.UUID) error, err error) {
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
