package hostlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExcludesAndNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "plexctl", "lock")
	held, err := Acquire(t.Context(), path, "create lun web1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = Acquire(ctx, path, "second")
	if !errors.Is(err, ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second lock: %v, want busy and deadline exceeded", err)
	}
	if !strings.Contains(err.Error(), "create lun web1") {
		t.Errorf("the holder is not named: %v", err)
	}
	held.Unlock()
	again, err := Acquire(t.Context(), path, "third")
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
	if left, _ := os.ReadFile(path); len(left) != 0 {
		t.Errorf("a released lock names %q as its holder", left)
	}
}

func TestWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Acquire(t.Context(), path, "first")
	if err != nil {
		t.Fatal(err)
	}
	var released atomic.Bool
	time.AfterFunc(100*time.Millisecond, func() { released.Store(true); held.Unlock() })
	second, err := Acquire(t.Context(), path, "second")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Unlock()
	if !released.Load() {
		t.Error("two locks at once")
	}
}

func TestInAPlaceThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), filepath.Join(file, "lock"), "x"); err == nil {
		t.Error("a lock below a file")
	} else if errors.Is(err, ErrHeld) {
		t.Errorf("not a busy lock: %v", err)
	}
}

func TestWhenContextHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	held, err := Acquire(ctx, path, "first")
	if err != nil {
		t.Fatalf("a free lock is refused: %v", err)
	}
	defer held.Unlock()
	_, err = Acquire(ctx, path, "second")
	var locked *HeldError
	if !errors.As(err, &locked) || !errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
		t.Fatalf("a held lock: error %v", err)
	}
	want := HeldError{Path: path, Holder: fmt.Sprintf("%d first", os.Getpid()), Err: context.Canceled}
	if *locked != want {
		t.Errorf("error %+v, want %+v", *locked, want)
	}
}

func TestHeldErrorWithoutHolder(t *testing.T) {
	err := &HeldError{Path: "/run/lock", Err: context.Canceled}
	if !strings.Contains(err.Error(), "held by another process") {
		t.Errorf("error %v", err)
	}
}

func TestShorterPurpose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("1 a purpose that somebody who was killed has left behind\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := Acquire(t.Context(), path, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	if got, want := readHolder(path), fmt.Sprintf("%d x", os.Getpid()); got != want {
		t.Errorf("holder %q, want %q", got, want)
	}
}

func TestIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	held, err := Acquire(t.Context(), filepath.Join(dir, "lock"), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "lock"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestIsNotALink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), filepath.Join(dir, "lock"), "x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("error %v, want %v", err, unix.ELOOP)
	}
	if got, err := os.ReadFile(victim); string(got) != "precious" || err != nil {
		t.Errorf("what the link leads to is now %q, %v", got, err)
	}
}

// TestLockFileRemoved removes the file while it is held and waited for. The waiter gets it after the holder is done; it must
// not take the removed file for the lock, since a third would lock the new one.
func TestFileRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Acquire(t.Context(), path, "first")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Lock)
	go func() {
		second, err := Acquire(context.Background(), path, "second")
		if err != nil {
			t.Error(err)
		}
		got <- second
	}()
	time.Sleep(5 * firstRetry) // until it waits for the file that goes now
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	held.Unlock()
	second := <-got
	defer second.Unlock()
	if !isAt(second.file, path) {
		t.Error("the lock is a file that is no longer there")
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := Acquire(ctx, path, "third"); !errors.Is(err, ErrHeld) {
		t.Errorf("third lock: error %v, want %v", err, ErrHeld)
	}
}

// TestLockOneAtATime has many goroutines count without any other protection.
func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, total atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				held, err := Acquire(t.Context(), path, "count")
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				total.Add(1)
				inside.Add(-1)
				held.Unlock()
			}
		})
	}
	group.Wait()
	if total.Load() != 40 {
		t.Errorf("%d times, want 40", total.Load())
	}
}
