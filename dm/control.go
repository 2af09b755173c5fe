//go:build linux

package dm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Paths of the machine. devmapper.go has controlPath too, and no way to change it.
const (
	linkDir     = "/dev/mapper"
	controlPath = linkDir + "/" + unix.DM_CONTROL_NODE
	kmsgPath    = "/dev/kmsg"
	miscPath    = "/proc/misc"
	udevPath    = "/run/udev/control"
)

// Options are the options of Open. The zero value is right for a normal machine.
type Options struct {
	Logger *slog.Logger // gets a record for each link that cannot be made or removed; none are written when nil
}

// How long other programs may take.
const (
	linkWait = 3 * time.Second // Resume waits for udev's link before it makes its own
	busyWait = 3 * time.Second // Remove tries again while a device is open
)

// Control is the kernel's device-mapper. Several goroutines may call its methods at once. Every error is an *Error, but
// for that of Close.
//
// A method looks at its context before it begins. Once an ioctl has begun, the kernel finishes it, even if the context
// ends meanwhile. A method that needs an existing device fails with ErrNotExist when there is none of that name.
type Control struct {
	file    *os.File
	conn    syscall.RawConn
	links   *links
	logs    kernelLogs
	waiting chan struct{} // holds a token while a goroutine is in WaitEvent
}

// Open opens the control node, which makes the kernel load its module. If there is no node, Open makes it. It fails with
// os.ErrPermission without CAP_SYS_ADMIN, and with ErrNotSupported if the kernel has no device-mapper. The caller closes the
// Control.
func Open(opts Options) (*Control, error) {
	file, err := openControl(controlPath, miscPath)
	if err != nil {
		return nil, &Error{Op: "open", Device: controlPath, Err: err}
	}
	conn, _ := file.SyscallConn() // an open file has one
	log := cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	c := &Control{
		file:    file,
		conn:    conn,
		links:   &links{dir: linkDir, udev: udevPath, wait: linkWait, log: log},
		logs:    kernelLogs{path: kmsgPath},
		waiting: make(chan struct{}, 1),
	}
	if _, err := c.Version(context.Background()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

// Close closes the control node and ends a WaitEvent. Devices stay as they are. Methods called later fail with
// os.ErrClosed.
func (c *Control) Close() error {
	c.logs.close()
	return c.file.Close()
}

// Version is the version of the kernel's device-mapper interface, 4.47.0 on Linux 6.1 for example.
func (c *Control) Version(ctx context.Context) (Version, error) {
	const op = "ask for interface version"
	if err := ctx.Err(); err != nil {
		return Version{}, &Error{Op: op, Err: err}
	}
	v, err := c.libraryVersion()
	return v, fault(op, "", privilege(err))
}

// Limits of the room for a reply, which grows until the reply fits.
const (
	firstRoom  = 16 << 10
	statusRoom = 1 << 10  // of one device: a mirror of eight legs has less
	maxRoom    = 64 << 20 // some 200 000 devices
)

// call does r on the open control node.
func (c *Control) call(r request) (reply, error) { return exchange(r, c.ioctl) }

// exchange does r through ioctl and decodes the reply. A reply that does not fit is asked for again with twice the room.
func exchange(r request, ioctl func(command uint, buf []byte) error) (reply, error) {
	for ; ; r.room *= 2 {
		buf := r.encode()
		if err := ioctl(r.command, buf); err != nil {
			return reply{}, err
		}
		rep, err := decodeReply(buf)
		if err != nil || !rep.full() {
			return rep, err
		}
		if r.room == 0 || r.room >= maxRoom {
			return reply{}, fmt.Errorf("%w: does not fit %d bytes", errReply, r.room)
		}
	}
}

// ioctl does command on the open control node.
func (c *Control) ioctl(command uint, buf []byte) error {
	var err error
	if c.conn.Control(func(fd uintptr) { err = ioctl(fd, command, buf) }) != nil {
		return os.ErrClosed // the only reason for which it does not call
	}
	return err
}

// device does r on the device called name.
func (c *Control) device(ctx context.Context, op, name string, r request) (reply, error) {
	if err := ready(ctx, op, name); err != nil {
		return reply{}, err
	}
	r.name = name
	rep, err := c.call(r)
	return rep, fault(op, name, err)
}

// ready checks what every operation on a device needs: a context that has not ended, and a name that the kernel will not
// cut off. Another program may have named the device, so the name may have any byte.
func ready(ctx context.Context, op, name string) error {
	err := ctx.Err()
	switch {
	case err != nil:
	case name == "":
		err = errors.New("name is empty")
	case len(name) > maxName:
		err = fmt.Errorf("name is longer than %d bytes", maxName)
	}
	return fault(op, name, err)
}

// privilege adds to a permission error what is needed.
func privilege(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: needs root (CAP_SYS_ADMIN)", err)
	}
	return err
}
