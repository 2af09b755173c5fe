//go:build linux

package apart

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/plexctl/plexctl/blockdev"
)

// Process is a reader that has been started: the ends of its pipes, and how to end it.
type Process struct {
	In  io.WriteCloser // its standard input
	Out io.ReadCloser  // its standard output
	End func()         // ends the process, and waits for that if it holds nobody up
}

// Host is the machine's own block devices. A device that is opened with blockdev.Look is opened and read by a reader. Make one with
// New, and Close it.
//
// If the reader cannot be started or has ended, Host reads itself. Then a device that does not answer keeps the process from ending.
type Host struct {
	blockdev.Host
	start func() (Process, error)
	marks string

	started chan struct{} // closed when reader is set
	reader  *reader       // nil: there is none
}

// startTime is how long a reader may take to be at work, on a machine that has other things to do.
const startTime = 10 * time.Second

// New starts a reader, and does not wait until it runs. Readers mark devices that do not answer in the folder marks.
func New(start func() (Process, error), marks string) *Host {
	h := &Host{start: start, marks: marks, started: make(chan struct{})}
	go func() {
		defer close(h.started)
		process, err := start()
		if err != nil {
			return
		}
		r := newReader(process)
		if _, err := r.ask(request{kind: hail}); err != nil {
			r.close()
			return
		}
		h.reader = r
	}()
	return h
}

// Ready waits until the reader is at work. What a device takes to answer is best measured from then on.
func (h *Host) Ready() {
	select {
	case <-h.started:
	case <-time.After(startTime):
	}
}

// working is the reader; nil when there is none.
func (h *Host) working() *reader {
	h.Ready()
	select {
	case <-h.started:
		return h.reader
	default:
		return nil
	}
}

// Close ends the reader. A read that has not ended keeps only the reader.
func (h *Host) Close() {
	if r := h.working(); r != nil {
		r.close()
	}
}

// Open opens a device, with blockdev.Look in the reader. While another reader waits for the device, Open waits too.
func (h *Host) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	if mode != blockdev.Look {
		return h.Host.Open(ctx, path, mode)
	}
	r := h.working()
	if r == nil {
		return h.Host.Open(ctx, path, mode)
	}
	for marked(h.marks, path) && !r.closed() {
		time.Sleep(markPause)
	}
	got, err := r.ask(request{kind: open, path: path})
	if errors.Is(err, errEnded) {
		return h.Host.Open(ctx, path, mode)
	}
	if err != nil {
		return nil, err
	}
	return &disk{host: h, path: path, file: got.id}, nil
}

// disk is a device that the reader has open.
type disk struct {
	host *Host
	path string
	file uint32

	mu    sync.Mutex
	local blockdev.Disk // instead of the reader, which has ended
}

// ReadAt fills p from off on. At the end of the device the error is io.EOF.
func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	got, err := d.host.reader.ask(request{kind: read, file: d.file, length: uint32(min(len(p), maxLength)), offset: uint64(off)})
	if errors.Is(err, errEnded) {
		return d.readHere(p, off)
	}
	if err != nil {
		return 0, err
	}
	n := copy(p, got.data)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readHere is ReadAt without a reader.
func (d *disk) readHere(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.local == nil {
		local, err := d.host.Host.Open(context.Background(), d.path, blockdev.Look)
		if err != nil {
			return 0, err
		}
		d.local = local
	}
	return d.local.ReadAt(p, off)
}

// WriteAt fails: the device is open for reading.
func (d *disk) WriteAt([]byte, int64) (int, error) {
	return 0, fmt.Errorf("write %s: %w", d.path, errors.ErrUnsupported)
}

// Sync does nothing: nothing was written.
func (d *disk) Sync() error { return nil }

// Info is the device as it is now.
func (d *disk) Info() blockdev.Info {
	info, _ := d.host.Stat(context.Background(), d.path) // of a device that has gone it is empty
	return info
}

// Close closes the device. It does not wait for that.
func (d *disk) Close() error {
	d.host.reader.tell(request{kind: shut, file: d.file})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.local != nil {
		return d.local.Close()
	}
	return nil
}

// errEnded means that the reader has ended by itself: somebody has killed it.
var errEnded = errors.New("the process that reads devices has ended")

// reader is the process that reads, as the one sees it that it reads for.
type reader struct {
	process Process

	mu      sync.Mutex
	last    uint32 // id of the last request
	waiting map[uint32]chan reply
	ended   error // errEnded, or os.ErrClosed after close; nil: there will be replies
}

func newReader(p Process) *reader {
	r := &reader{process: p, waiting: map[uint32]chan reply{}}
	go r.listen()
	return r
}

// listen hands replies to those who wait for them, until the reader ends.
func (r *reader) listen() {
	for {
		got, err := decodeReply(r.process.Out)
		r.mu.Lock()
		if err != nil {
			r.end(errEnded)
			r.mu.Unlock()
			return
		}
		if wait, ok := r.waiting[got.id]; ok {
			delete(r.waiting, got.id)
			wait <- got
		}
		r.mu.Unlock()
	}
}

// end notes why there will be no more replies. r.mu is held.
func (r *reader) end(why error) {
	r.ended = cmp.Or(r.ended, why)
	for _, wait := range r.waiting {
		close(wait)
	}
	clear(r.waiting)
}

// ask sends a request and waits for the reply, for ever if need be.
func (r *reader) ask(q request) (reply, error) {
	wait := make(chan reply, 1)
	r.send(q, wait)
	got, ok := <-wait
	if !ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		return reply{}, r.ended
	}
	return got, got.err()
}

// tell sends a request that has no reply.
func (r *reader) tell(q request) { r.send(q, nil) }

func (r *reader) send(q request, wait chan reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	q.id = r.last
	if wait != nil {
		r.waiting[q.id] = wait
	}
	if r.ended == nil {
		if _, err := r.process.In.Write(q.encode()); err == nil {
			return
		}
	}
	r.end(errEnded)
}

// closed reports whether there will be no more replies.
func (r *reader) closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended != nil
}

// close sends the reader away.
func (r *reader) close() {
	r.mu.Lock()
	r.end(os.ErrClosed) // who waits must not begin to read here
	r.mu.Unlock()
	_ = r.process.In.Close()  // the reader ends at that
	_ = r.process.Out.Close() // a reply that nobody waits for is lost
	r.process.End()
}
