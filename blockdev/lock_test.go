package blockdev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLockExcludesAndNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "plexctl", "lock")
	held, err := Lock(t.Context(), path, "create lun web1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = Lock(ctx, path, "second")
	if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second lock: %v, want busy and deadline exceeded", err)
	}
	if !strings.Contains(err.Error(), "create lun web1") {
		t.Errorf("the holder is not named: %v", err)
	}
	held.Unlock()
	again, err := Lock(t.Context(), path, "third")
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
	if left, _ := os.ReadFile(path); len(left) != 0 {
		t.Errorf("a released lock names %q as its holder", left)
	}
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := Lock(t.Context(), path, "first")
	if err != nil {
		t.Fatal(err)
	}
	var released atomic.Bool
	time.AfterFunc(100*time.Millisecond, func() { released.Store(true); held.Unlock() })
	second, err := Lock(t.Context(), path, "second")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Unlock()
	if !released.Load() {
		t.Error("two locks at once")
	}
}

func TestLockInAPlaceThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(t.Context(), filepath.Join(file, "lock"), "x"); err == nil {
		t.Error("a lock below a file")
	} else if errors.Is(err, ErrBusy) {
		t.Errorf("not a busy lock: %v", err)
	}
}
