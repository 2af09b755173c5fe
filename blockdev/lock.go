package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How often a held lock is tried.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// LockedError says who held a lock when the wait for it ended. It matches ErrBusy and the context's error.
type LockedError struct {
	Path   string
	Holder string // "812 add plex": process id and purpose; empty when it is not known
	Err    error  // why the wait ended
}

// Error names the holder.
func (e *LockedError) Error() string {
	holder := "another process"
	if e.Holder != "" {
		holder = "process " + e.Holder
	}
	return fmt.Sprintf("lock %s: held by %s: %v", e.Path, holder, e.Err)
}

// Unwrap is ErrBusy and the reason for the end of the wait.
func (e *LockedError) Unwrap() []error { return []error{ErrBusy, e.Err} }

// HostLock is an exclusive lock among the processes of a host. The kernel drops it when the process dies.
type HostLock struct{ file *os.File }

// Lock takes the lock at path, which it creates, with its folder, where it does not exist. It waits until ctx ends; the
// error is then a *LockedError that names the holder by its purpose. Different calls exclude each other also within one
// process.
func Lock(ctx context.Context, path, purpose string) (*HostLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := flock(ctx, file); err != nil {
		holder, _ := os.ReadFile(path)
		_ = file.Close()
		if ctx.Err() == nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, &LockedError{Path: path, Holder: strings.TrimSpace(string(holder)), Err: err}
	}
	// The text helps whoever waits; the lock holds without it.
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(fmt.Sprintf("%d %s\n", os.Getpid(), purpose)), 0)
	}
	return &HostLock{file}, nil
}

// Unlock releases the lock. It must not be called twice.
func (l *HostLock) Unlock() {
	_ = l.file.Truncate(0)
	_ = l.file.Close()
}

// flock takes flock(LOCK_EX) on file, trying again until ctx ends.
func flock(ctx context.Context, file *os.File) error {
	pause := firstRetry
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRetry)
	}
}
