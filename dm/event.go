//go:build linux

package dm

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// WaitEvent returns when any device-mapper device of the machine has had an event since WaitEvent last returned, or since
// Open. Events are: creation, removal, a rename, a table swap, the end of a resync, and the failure of a leg. The progress
// of a resync is none. Look at the devices after WaitEvent has returned: the next call reports what happens from then on.
//
// One goroutine waits at a time; others wait their turn. It fails with ErrNotSupported before Linux 4.13.
//
// The kernel keeps a counter for each open control node (drivers/md/dm-ioctl.c, dm_poll). WaitEvent arms it before it
// returns, not before it waits. So no event is lost between two calls.
func (c *Control) WaitEvent(ctx context.Context) error {
	const op = "wait for event"
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	case <-ctx.Done():
		return &Error{Op: op, Err: ctx.Err()}
	}
	waited := c.poll(ctx)
	if ended := ctx.Err(); ended != nil {
		return &Error{Op: op, Err: ended}
	}
	_, err := c.call(request{command: unix.DM_DEV_ARM_POLL})
	if err == nil {
		err = waited // only after arming, which says why waiting failed: closed, or a kernel that cannot
	}
	return fault(op, "", err)
}

// poll parks the goroutine until the control node is readable, it is closed, or ctx ends.
func (c *Control) poll(ctx context.Context) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = c.file.SetReadDeadline(time.Unix(1, 0)) // a closed file reads as ended too
	})
	defer func() {
		if !stop() {
			<-interrupted
			_ = c.file.SetReadDeadline(time.Time{})
		}
	}()
	var failed error
	err := c.conn.Read(func(fd uintptr) bool {
		var ready bool
		ready, failed = readable(int(fd))
		return ready || failed != nil
	})
	return cmp.Or(err, failed)
}

// readable reports whether fd has something to read now.
func readable(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	if err == unix.EINTR {
		return false, nil
	}
	return n > 0, err
}
