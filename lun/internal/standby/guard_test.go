//go:build linux

package standby

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun/internal/engine"
)

// TestMain lets this binary be a guard.
func TestMain(m *testing.M) {
	if !Guards() {
		m.Run()
	}
}

// pulse is a pipe with these bytes in it. Its end has been written, unless it stays open.
func pulse(t *testing.T, beats []byte, open bool) int {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	if _, err := out.Write(beats); err != nil {
		t.Fatal(err)
	}
	if !open {
		out.Close()
	}
	return int(in.Fd())
}

// A guard says that it is ready. It resumes its LUN when its input ends without a word, or when no beat comes while the LUN is
// suspended. It does nothing when it is sent away.
func TestStandBy(t *testing.T) {
	broken := errors.New("no device-mapper")
	for _, tt := range []struct {
		name   string
		beats  []byte
		open   bool
		failed error
		passed bool // the process has gone on just before it was overtaken
		calls  []string
		says   string
	}{
		{"sent away", []byte{alive, alive, sentAway}, false, nil, false, nil, ""},
		{"left alone", []byte{alive}, false, nil, false, []string{"resume"}, "was cut off; the LUN is resumed"},
		{"left alone in vain", nil, false, broken, false, []string{"resume"}, ""},
		{"no beats", []byte{alive}, true, nil, false, []string{"overtake"}, "stands still; the LUN is resumed"},
		{"no beats for a while", []byte{alive}, true, nil, true, []string{"overtake"}, ""},
		{"no beats, in vain", nil, true, broken, false, []string{"overtake"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			var calls []string
			r := &rescue{
				id: uuid.New(), every: time.Millisecond,
				suspended: func(context.Context) bool { return true },
				resume:    func(context.Context) error { calls = append(calls, "resume"); return tt.failed },
				overtake: func(context.Context) (bool, error) {
					calls = append(calls, "overtake")
					return !tt.passed, tt.failed
				},
			}
			if err := r.standBy(t.Context(), pulse(t, tt.beats, tt.open), &out, &errs); !errors.Is(err, tt.failed) {
				t.Errorf("error %v, want %v", err, tt.failed)
			}
			if out.String() != "ready\n" {
				t.Errorf("said %q", out.String())
			}
			if !slices.Equal(calls, tt.calls) || !strings.Contains(errs.String(), tt.says) || tt.says == "" && errs.Len() > 0 {
				t.Errorf("did %q and said %q, want %q and %q", calls, errs.String(), tt.calls, tt.says)
			}
		})
	}
}

// A process that sends no beats while its LUN is not suspended is left alone, however long.
func TestWatchOnlyWhileSuspended(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	looks := 0
	got := watch(int(in.Fd()), time.Millisecond, func() bool {
		looks++
		if looks == 5*patience {
			out.Close()
		}
		return looks%patience > 0 // never for long enough
	})
	if got != died || looks < 5*patience {
		t.Errorf("fate %d after %d looks, want %d after %d", got, looks, died, 5*patience)
	}
}

// A program that is no guard, or would not know that it is one, does not stand by.
func TestNoGuard(t *testing.T) {
	for _, says := range []string{"", "PASS\n", "no guard\n"} {
		ready, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer ready.Close()
		if _, err := out.WriteString(says); err != nil {
			t.Fatal(err)
		}
		out.Close()
		process, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "-test.run=^$"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		g := &guard{process: process, ready: ready}
		if err := g.await(); err == nil || !strings.Contains(err.Error(), "does not start") {
			t.Errorf("a program that says %q: %v", says, err)
		}
		_, _ = process.Wait()
	}
	asked.Store(false)
	defer asked.Store(true)
	if _, err := Start(t.Context(), engine.Watched{}); err == nil || !strings.Contains(err.Error(), "lun.BeGuard") {
		t.Errorf("a program that never asks whether it is a guard: %v", err)
	}
}
