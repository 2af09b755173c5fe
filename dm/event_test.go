//go:build linux

package dm

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestWaitEventEnds(t *testing.T) {
	// An event gets as far as arming again, which a pipe refuses.
	tests := []struct {
		name string
		end  func(c *Control, event *os.File, cancel context.CancelFunc) error
		want error
	}{
		{"event", func(_ *Control, event *os.File, _ context.CancelFunc) error {
			_, err := event.Write([]byte{1})
			return err
		}, ErrNotSupported},
		{"cancelled", func(_ *Control, _ *os.File, cancel context.CancelFunc) error { cancel(); return nil }, context.Canceled},
		{"closed", func(c *Control, _ *os.File, _ context.CancelFunc) error { return c.Close() }, os.ErrClosed},
	}
	for _, tt := range tests {
		for _, pause := range []time.Duration{0, 20 * time.Millisecond} { // before and while it waits
			t.Run(tt.name+" after "+pause.String(), func(t *testing.T) {
				c, event := newPipeControl(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error)
				go func() { ended <- c.WaitEvent(ctx) }()
				time.Sleep(pause)
				if err := tt.end(c, event, cancel); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			})
		}
	}
}

func TestWaitEventAfterTimeout(t *testing.T) {
	c, event := newPipeControl(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := c.WaitEvent(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	if _, err := event.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitEvent(t.Context()); !errors.Is(err, ErrNotSupported) {
		t.Errorf("after timeouts: got %v, want the event", err)
	}
}

func TestWaitEventOneAtATime(t *testing.T) {
	c, event := newPipeControl(t)
	first := make(chan error)
	go func() { first <- c.WaitEvent(t.Context()) }()
	for len(c.waiting) == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.WaitEvent(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second: got %v", err)
	}
	if _, err := event.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-first; !errors.Is(err, ErrNotSupported) {
		t.Errorf("first: got %v", err)
	}
}
