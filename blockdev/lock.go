package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
// error is then a *LockedError that names the holder by its purpose. A lock that is free is taken even when ctx has ended.
// Different calls exclude each other also within one process.
func Lock(ctx context.Context, path, purpose string) (*HostLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, cause(err))
	}
	for {
		file, err := lockFile(ctx, path)
		if err != nil {
			return nil, err
		}
		if isAt(file, path) {
			// The text helps whoever waits; the lock holds without it.
			if file.Truncate(0) == nil {
				_, _ = file.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), purpose), 0)
			}
			return &HostLock{file}, nil
		}
		_ = file.Close() // somebody has removed the file that is locked now: the lock of others is another file
	}
}

// lockFile opens the file at path and takes its flock.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, cause(err))
	}
	err = flock(ctx, file)
	if err == nil {
		return file, nil
	}
	_ = file.Close()
	if ctx.Err() == nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return nil, &LockedError{Path: path, Holder: readLine(path), Err: err}
}

// isAt reports whether file is the one that path leads to.
func isAt(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// Unlock releases the lock. It must not be called twice.
func (l *HostLock) Unlock() {
	_ = l.file.Truncate(0) // a waiter would name a holder that is gone
	_ = l.file.Close()
}

// flock takes flock(LOCK_EX) on file, trying again until ctx ends.
func flock(ctx context.Context, file *os.File) error {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := ignoringEINTR(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
