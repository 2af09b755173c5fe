package lun_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// A change waits for the lock as long as Options.LockTimeout says, or until its context ends, and is not bounded by
// LockTimeout once it has the lock.
func TestLockTimeout(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration // Options.LockTimeout
		ctx     time.Duration // until the context of the change ends
		held    time.Duration // by another process; negative: for good
		want    vds.Code
	}{
		{"free, does not wait", -1, time.Minute, 0, vds.OK},
		{"held, does not wait", -1, time.Minute, -1, vds.ErrAnotherCallInProgress},
		{"held for longer", 20 * time.Millisecond, time.Minute, -1, vds.ErrAnotherCallInProgress},
		{"released in time", time.Minute, time.Minute, 20 * time.Millisecond, vds.OK},
		{"no limit, released in time", 0, time.Minute, 20 * time.Millisecond, vds.OK},
		{"no limit but that of the context", 0, 20 * time.Millisecond, -1, vds.ErrAnotherCallInProgress},
		{"the context ends first", time.Minute, 20 * time.Millisecond, -1, vds.ErrAnotherCallInProgress},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 1)
			p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock, LockTimeout: tt.timeout})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if tt.held != 0 {
				lock, err := hostlock.Acquire(t.Context(), w.lock, "test")
				if err != nil {
					t.Fatal(err)
				}
				if tt.held < 0 {
					defer lock.Unlock()
				} else {
					time.AfterFunc(tt.held, lock.Unlock)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
			defer cancel()
			_, err = p.CreateLUN(ctx, lun.Spec{Name: "web1", Size: size.MiB})
			if vds.CodeOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if tt.want != vds.OK && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not say that time is over", err)
			}
		})
	}
}
