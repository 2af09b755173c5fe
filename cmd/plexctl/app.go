package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// patience is how long a command waits for another plexctl that changes this host's LUNs. Changes are short: none copies
// data while it holds the lock.
const patience = time.Minute

// app is one run of plexctl: its streams, its terminal, and the machine it works on.
type app struct {
	in       io.Reader
	out      io.Writer // results
	err      io.Writer // talk, progress, text errors
	terminal terminal
	root     bool // may use device-mapper
	patience time.Duration
	after    func(time.Duration) <-chan time.Time
	open     func(context.Context, *slog.Logger) (*world, error)
	examine  func(context.Context) facts
	// openGuard makes ready what a guard needs to wake a LUN on these drives, by number.
	openGuard func(drives []string) (wake func(context.Context, uuid.UUID) error, err error)

	format  format // -o
	verbose bool   // -v
	dryRun  bool   // --dry-run, of commands that change something
}

// terminal says which streams are a terminal, and what it can do.
type terminal struct {
	in, out, err bool
	width        int // columns of the terminal behind err; 0 where it does not know its size, as serial consoles
	color        bool
}

// world is the machine that a command works on.
type world struct {
	*lun.Provider
	devices lun.Devices
	now     func() time.Time
	close   func()
}

// newApp is the app of the real machine.
func newApp() *app {
	return &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal:  realTerminal(),
		root:      os.Geteuid() == 0,
		patience:  patience,
		after:     time.After,
		open:      openMachine,
		examine:   examineMachine,
		openGuard: openGuard,
		format:    formatText,
	}
}

// realTerminal asks what the standard streams are. NO_COLOR is https://no-color.org.
func realTerminal() terminal {
	t := terminal{
		in:  term.IsTerminal(int(os.Stdin.Fd())),
		out: term.IsTerminal(int(os.Stdout.Fd())),
		err: term.IsTerminal(int(os.Stderr.Fd())),
	}
	t.color = t.out && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, height, err := term.GetSize(int(os.Stderr.Fd())); err == nil && height > 0 {
		t.width = width
	}
	return t
}

// with runs f on the machine. Without privilege it refuses before anything is looked at.
func (a *app) with(ctx context.Context, f func(context.Context, *world) error) error {
	if !a.root {
		return &vds.Error{
			Code: vds.ErrAccessDenied, Reason: "device-mapper and the drives are for root alone",
			Hint: "run plexctl as root, with sudo for example",
		}
	}
	w, err := a.open(ctx, a.logger())
	if err != nil {
		return err
	}
	defer w.close()
	return f(ctx, w)
}

// patient is ctx with a limit on how long a change waits for another one. A change that has begun is not interrupted.
func (a *app) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.patience)
}

// logger is where the library reports: warnings, and with --verbose every step.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}
