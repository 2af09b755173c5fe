// Package hostlock is an exclusive lock among the processes of a host. The lock is a file with a flock on it, so the kernel
// drops it when the process dies. The file names its holder for others who wait.
//
// The lock holds for processes that see the same file. A container with a /run of its own does not.
package hostlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
)

// How often a held lock is tried.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// ErrHeld means that another process held the lock until the wait for it ended.
var ErrHeld = errors.New("lock is held")

// HeldError says who held a lock when the wait for it ended. It matches ErrHeld and the context's error.
type HeldError struct {
	Path   string
	Holder string // "812 add plex": process id and purpose; empty when it is not known
	Err    error  // why the wait ended
}

// Error names the holder.
func (e *HeldError) Error() string {
	holder := "another process"
	if pid, purpose, ok := strings.Cut(e.Holder, " "); ok {
		holder = fmt.Sprintf("process %s (%s)", pid, purpose)
	}
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("lock %s: held by %s, and not free in time", e.Path, holder)
	}
	return fmt.Sprintf("lock %s: held by %s: %v", e.Path, holder, e.Err)
}

// Unwrap is ErrHeld and the reason for the end of the wait.
func (e *HeldError) Unwrap() []error { return []error{ErrHeld, e.Err} }

// Lock is a lock that this process holds.
type Lock struct{ file *os.File }

// Acquire takes the lock at path. It creates the file and its folder if they do not exist. It waits until ctx ends; the error
// is then a *HeldError that names the holder by its purpose. A free lock is taken even when ctx has ended. Different calls
// exclude each other also within one process.
func Acquire(ctx context.Context, path, purpose string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
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
			return &Lock{file}, nil
		}
		_ = file.Close() // somebody has removed the file that is locked now: the lock of others is another file
	}
}

// lockFile opens the file at path and takes its flock.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = Flock(ctx, file)
	if err == nil {
		return file, nil
	}
	_ = file.Close()
	if ctx.Err() == nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return nil, &HeldError{Path: path, Holder: readHolder(path), Err: err}
}

// readHolder is the text of a lock file, empty when it cannot be read.
func readHolder(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// isAt reports whether file is the one that path leads to.
func isAt(file *os.File, path string) bool {
	mine, errMine := file.Stat()
	there, errThere := os.Lstat(path)
	return errMine == nil && errThere == nil && os.SameFile(mine, there)
}

// File is the file with the lock. A process that gets it as an open file shares the lock, until it closes the file or ends.
func (l *Lock) File() *os.File { return l.file }

// Unlock releases the lock, if no other process shares it. It must not be called twice.
func (l *Lock) Unlock() {
	_ = l.file.Truncate(0) // a waiter would name a holder that is gone
	_ = l.file.Close()
}

// Flock takes flock(LOCK_EX) on file. It tries again until ctx ends, and the error is then that of ctx. Closing the file
// drops the lock.
func Flock(ctx context.Context, file *os.File) error {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := eintr.Retry(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
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
