//go:build linux

package apart

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
)

// Devices opens block devices: blockdev.Host in a reader.
type Devices interface {
	Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error)
}

// Serve reads devices for another process until that process closes in or ends. Reads that have not ended then go on: the caller
// ends its process. It opens nothing but devices, and files in the folder marks for devices that do not answer.
func Serve(in io.Reader, out io.Writer, devices Devices, marks string) error {
	s := server{out: out, devices: devices, marks: marks, files: map[uint32]file{}}
	for {
		r, err := decodeRequest(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.serve(r) // each by itself: it may never end
	}
}

type server struct {
	devices Devices
	marks   string

	mu    sync.Mutex
	files map[uint32]file

	writing sync.Mutex
	out     io.Writer
}

// file is a device that is open.
type file struct {
	path string
	disk blockdev.Disk
}

func (s *server) serve(r request) {
	switch r.kind {
	case open:
		unmark := mark(s.marks, r.path)
		disk, err := s.devices.Open(context.Background(), r.path, blockdev.Read)
		unmark()
		if err == nil {
			s.mu.Lock()
			s.files[r.id] = file{r.path, disk}
			s.mu.Unlock()
		}
		s.answer(r.id, nil, err)
	case read:
		data := make([]byte, r.length)
		n, err := 0, error(unix.EBADF)
		if f := s.file(r.file, false); f.disk != nil {
			unmark := mark(s.marks, f.path)
			n, err = f.disk.ReadAt(data, int64(r.offset))
			unmark()
		}
		s.answer(r.id, data[:n], err)
	case hail:
		s.answer(r.id, nil, nil)
	case shut:
		if f := s.file(r.file, true); f.disk != nil {
			_ = f.disk.Close() // nothing was written
		}
	}
}

// file is an open file; empty when there is none. With forget it is open for nobody any more.
func (s *server) file(id uint32, forget bool) file {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if forget {
		delete(s.files, id)
	}
	return f
}

func (s *server) answer(id uint32, data []byte, err error) {
	r := reply{id: id, data: data}
	if err != nil && !errors.Is(err, io.EOF) {
		r.cause, r.data = causeOf(err), []byte(err.Error())
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, _ = s.out.Write(r.encode()) // when nobody listens any more, Serve ends
}
