//go:build linux

package dm

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/plexctl/plexctl/devno"
)

// newPipeControl is a Control whose node is a pipe: it knows no ioctl (ENOTTY) and is readable, as the real one is after
// an event, once something is written to the other end.
func newPipeControl(t *testing.T) (c *Control, event *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	conn, err := r.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	l, _ := newLinks(t)
	return &Control{file: r, conn: conn, links: l, waiting: make(chan struct{}, 1)}, w
}

// operations is every method of Control that names one device.
func operations(c *Control) map[string]func(ctx context.Context, name string) error {
	linear := Table{{0, 8, Linear{Dev: devno.No{Major: 1}}}}
	return map[string]func(ctx context.Context, name string) error{
		"create":  func(ctx context.Context, name string) error { _, err := c.Create(ctx, name, ""); return err },
		"load":    func(ctx context.Context, name string) error { return c.Load(ctx, name, linear) },
		"clear":   c.Clear,
		"suspend": func(ctx context.Context, name string) error { return c.Suspend(ctx, name, false) },
		"resume":  func(ctx context.Context, name string) error { return c.Resume(ctx, name, Public) },
		"remove":  c.Remove,
		"rename":  func(ctx context.Context, name string) error { return c.Rename(ctx, name, "new", Public) },
		"message": func(ctx context.Context, name string) error { _, err := c.Message(ctx, name, 0, "check"); return err },
		"info":    func(ctx context.Context, name string) error { _, err := c.Info(ctx, name); return err },
		"table":   func(ctx context.Context, name string) error { _, err := c.Table(ctx, name); return err },
		"waiting": func(ctx context.Context, name string) error { _, err := c.Waiting(ctx, name); return err },
		"freeze":  func(ctx context.Context, name string) error { return c.Suspend(ctx, name, true) },
		"status":  func(ctx context.Context, name string) error { _, err := c.Status(ctx, name); return err },
		"target":  func(ctx context.Context, name string) error { _, err := c.TargetVersion(ctx, name); return err },
	}
}

func TestOperationsLookAtContextFirst(t *testing.T) {
	c, _ := newPipeControl(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, do := range operations(c) {
		t.Run(op, func(t *testing.T) {
			err := do(ctx, "plex-a")
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, context.Canceled) || e.Device != "plex-a" || e.Op == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	for op, do := range map[string]func() error{
		"list":    func() error { _, err := c.List(ctx); return err },
		"version": func() error { _, err := c.Version(ctx); return err },
		"probe":   func() error { _, err := c.Probe(ctx); return err },
		"wait":    func() error { return c.WaitEvent(ctx) },
	} {
		t.Run(op, func(t *testing.T) {
			err := do()
			if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.Canceled) || e.Op == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOperationsRefuseNamesTheKernelWouldCut(t *testing.T) {
	c, _ := newPipeControl(t)
	for op, do := range operations(c) {
		for _, name := range []string{"", longestName + "n"} {
			t.Run(op, func(t *testing.T) {
				err := do(t.Context(), name)
				if _, ok := errors.AsType[*Error](err); !ok || errors.Is(err, ErrNotSupported) {
					t.Errorf("got %v for a name of %d bytes", err, len(name))
				}
			})
		}
	}
}

func TestNewNamesAreChecked(t *testing.T) {
	c, _ := newPipeControl(t)
	tests := []struct {
		name string
		do   func() error
		want string
	}{
		{"create", func() error { _, err := c.Create(t.Context(), "a/b", ""); return err }, `create "a/b": name contains "/"`},
		{"uuid", func() error { _, err := c.Create(t.Context(), "a", "x y"); return err }, `create "a": uuid contains " "`},
		{"rename", func() error { return c.Rename(t.Context(), "a", "..", Public) }, `rename "a": new name is reserved`},
		{"table", func() error { return c.Load(t.Context(), "a", nil) }, `load table of "a": table is empty`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(tt.do()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOwnCallsCarryTheErrno(t *testing.T) {
	c, _ := newPipeControl(t)
	own := operations(c)
	delete(own, "freeze") // is a call of devmapper.go, which opens the control node of the machine
	own["load raid"] = func(ctx context.Context, name string) error {
		return c.Load(ctx, name, Table{{0, 8, Other{"raid", "raid1 1 0 1 - -"}}})
	}
	for op, do := range own {
		t.Run(op, func(t *testing.T) {
			err := do(t.Context(), "plex-a")
			if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrNotSupported) || e.Device != "plex-a" {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := c.List(t.Context()); !errors.Is(err, ErrNotSupported) {
		t.Errorf("list: got %v", err)
	}
}

func TestClosedControl(t *testing.T) {
	c, _ := newPipeControl(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Info(t.Context(), "plex-a"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("info: got %v", err)
	}
	if _, err := c.Version(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("version: got %v", err)
	}
	if err := c.Suspend(t.Context(), "plex-a", true); !errors.Is(err, os.ErrClosed) {
		t.Errorf("suspend and freeze: got %v", err)
	}
	if err := c.WaitEvent(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("wait: got %v", err)
	}
	if err := c.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("close: got %v", err)
	}
}
