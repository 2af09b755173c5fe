//go:build linux

package apart

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// start starts a reader of devices in a goroutine. Its process is ended by a close of its input.
func start(devices Devices, marks string) func() (Process, error) {
	return func() (Process, error) {
		in, requests := io.Pipe()
		replies, out := io.Pipe()
		go func() {
			err := Serve(in, out, devices, marks)
			out.CloseWithError(errors.Join(err, io.EOF))
		}()
		return Process{In: requests, Out: replies, End: func() {}}, nil
	}
}

func newHost(t *testing.T, devices Devices) *Host {
	marks := t.TempDir()
	h := New(start(devices, marks), marks)
	t.Cleanup(h.Close)
	return h
}

// What the reader reads arrives: all of it, less at the end of the device, and errors with their causes.
func TestRead(t *testing.T) {
	mem := blocktest.New()
	mem.AddDisk(blockdev.Info{Path: "/dev/sda", Size: size.MiB})
	disk, err := mem.Open(t.Context(), "/dev/sda", blockdev.Write)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{7, 1}, int(size.MiB/2))
	if _, err := disk.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, mem)
	apart, err := h.Open(t.Context(), "/dev/sda", blockdev.Look)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := apart.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if n, err := apart.ReadAt(got, int64(len(want)-blockdev.Align)); n != blockdev.Align || err != io.EOF { //nolint:errorlint // readers expect it bare
		t.Errorf("read over the end: %d bytes, %v", n, err)
	}
	for _, cause := range []error{unix.EIO, blockdev.ErrNotExist, unix.ETIMEDOUT} {
		mem.Fail("/dev/sda", blocktest.Fault{Kind: "read", Err: cause})
		local, _ := mem.Open(t.Context(), "/dev/sda", blockdev.Read)
		_, want := local.ReadAt(got[:blockdev.Align], 0)
		if _, err := apart.ReadAt(got[:blockdev.Align], 0); !errors.Is(err, cause) || err.Error() != want.Error() {
			t.Errorf("read: %v, want %v", err, want)
		}
		mem.Heal("/dev/sda")
	}
	mem.Fail("/dev/sda", blocktest.Fault{Kind: "read", Err: errors.New("strange")})
	if _, err := apart.ReadAt(got, 0); err == nil || !strings.Contains(err.Error(), "strange") {
		t.Errorf("read: %v", err)
	}
	if _, err := apart.WriteAt(got, 0); err == nil {
		t.Error("a write worked")
	}
	if err := errors.Join(apart.Sync(), apart.Close()); err != nil {
		t.Error(err)
	}
	if _, err := h.Open(t.Context(), "/dev/sdb", blockdev.Look); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
}

// hanging are devices whose reads do not end before a channel is closed.
type hanging struct {
	*blocktest.Mem
	until chan struct{}
}

func (h hanging) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	if path == "/dev/hung" {
		<-h.until
	}
	return h.Mem.Open(ctx, path, mode)
}

// A device that does not answer keeps no other one waiting. When the reader is sent away, the wait for it ends, and nothing is read
// here in its place.
func TestHangs(t *testing.T) {
	mem := blocktest.New()
	mem.AddDisk(blockdev.Info{Path: "/dev/sda", Size: size.MiB})
	devices := hanging{mem, make(chan struct{})}
	defer close(devices.until)
	h := New(start(devices, t.TempDir()), t.TempDir())
	waited := make(chan error)
	go func() {
		_, err := h.Open(context.Background(), "/dev/hung", blockdev.Look)
		waited <- err
	}()
	if _, err := h.Open(t.Context(), "/dev/sda", blockdev.Look); err != nil {
		t.Error(err)
	}
	select {
	case err := <-waited:
		t.Errorf("the hung device answers: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	h.Close()
	if err := <-waited; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after the reader was sent away: %v, want %v", err, os.ErrClosed)
	}
}

// A second reader does not begin to wait for a device that the first one waits for. When it answers, both have it.
func TestMark(t *testing.T) {
	mem := blocktest.New()
	mem.AddDisk(blockdev.Info{Path: "/dev/hung", Size: size.MiB})
	marks := t.TempDir()
	var opened atomic.Int64
	devices := counting{hanging{mem, make(chan struct{})}, &opened}
	answered := make(chan error)
	ask := func() {
		h := New(start(devices, marks), marks)
		t.Cleanup(h.Close)
		go func() {
			_, err := h.Open(context.Background(), "/dev/hung", blockdev.Look)
			answered <- err
		}()
	}
	ask()
	for limit := time.Now().Add(time.Minute); !marked(marks, "/dev/hung"); time.Sleep(markPause) {
		if time.Now().After(limit) {
			t.Fatal("the device is not marked")
		}
	}
	ask()
	time.Sleep(2 * markPause)
	if n := opened.Load(); n != 1 {
		t.Errorf("%d readers wait for the device, want one", n)
	}
	close(devices.until)
	for range 2 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if files, err := os.ReadDir(marks); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// counting counts how often a device is opened.
type counting struct {
	hanging
	opened *atomic.Int64
}

func (c counting) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	c.opened.Add(1)
	return c.hanging.Open(ctx, path, mode)
}

// Without a reader, the process reads itself.
func TestWithoutReader(t *testing.T) {
	dead := func() (Process, error) {
		in, requests := io.Pipe()
		replies, out := io.Pipe()
		in.Close()
		out.Close()
		return Process{In: requests, Out: replies, End: func() {}}, nil
	}
	for name, start := range map[string]func() (Process, error){
		"cannot be started": func() (Process, error) { return Process{}, unix.ENOMEM },
		"has ended":         dead,
		"ends later":        start(blocktest.New(), t.TempDir()),
	} {
		t.Run(name, func(t *testing.T) {
			h := New(start, t.TempDir())
			defer h.Close()
			if h.Ready(); name == "ends later" {
				h.reader.process.In.Close()
			}
			if _, err := h.Open(t.Context(), "/dev/null", blockdev.Look); !errors.Is(err, blockdev.ErrNotBlock) {
				t.Errorf("open: %v, want this process's own %v", err, blockdev.ErrNotBlock)
			}
			if name != "ends later" {
				return
			}
			d := &disk{host: h, path: "/dev/null"}
			if _, err := d.ReadAt(make([]byte, blockdev.Align), 0); !errors.Is(err, blockdev.ErrNotBlock) {
				t.Errorf("read: %v, want this process's own %v", err, blockdev.ErrNotBlock)
			}
		})
	}
}

// FuzzServe gives a reader anything. It must not fall over, and must not take memory that nobody has asked for.
func FuzzServe(f *testing.F) {
	f.Add(request{id: 1, kind: open, path: "/dev/sda"}.encode())
	f.Add(append(request{id: 1, kind: open, path: "/dev/sda"}.encode(), request{id: 2, kind: read, file: 1, length: 4096}.encode()...))
	f.Add(request{id: 3, kind: read, length: 1 << 31}.encode())
	f.Add(request{id: 4, kind: shut, file: 9}.encode())
	mem := blocktest.New()
	mem.AddDisk(blockdev.Info{Path: "/dev/sda", Size: size.MiB})
	marks := f.TempDir()
	f.Fuzz(func(_ *testing.T, in []byte) {
		_ = Serve(bytes.NewReader(in), io.Discard, mem, marks)
		_, _ = decodeReply(bytes.NewReader(in))
	})
}
