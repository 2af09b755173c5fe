//go:build linux

// Package apart reads block devices in another process.
//
// No signal ends a read of a device that does not answer, and the process that waits for it cannot end either. So a process that must
// end leaves such reads to another one, its reader. If a read does not end, the reader stays behind until the device answers or goes,
// and keeps nobody waiting.
//
//	Host   the machine's devices. What is opened with blockdev.Look is opened and read by the reader
//	Serve  what the reader does
//
// Both talk over two pipes. A request has a header of 24 bytes and then, for an open, a path. A reply has a header of 12 bytes and
// then what was read, or the text of the error. All numbers are little-endian.
//
//	request   id 4, kind 4, file 4, length 4, offset 8
//	reply     id 4, error 4, length 4
package apart

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
)

// kind is what a request asks for.
type kind uint32

const (
	open kind = iota + 1 // the file gets the id of the request
	read                 // length bytes at offset
	shut                 // close; there is no reply
	hail                 // an empty reply: the reader is at work
)

// request is what a process asks its reader.
type request struct {
	id     uint32
	kind   kind
	file   uint32 // id of the request that opened it
	length uint32 // of the read, or of path
	offset uint64
	path   string
}

// maxLength is the largest transfer: a whole slot of a catalog is smaller.
const maxLength = 16 << 20

var errProtocol = errors.New("the reader and the process that it reads for do not understand each other")

func (r request) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, r.id)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.kind))
	b = binary.LittleEndian.AppendUint32(b, r.file)
	b = binary.LittleEndian.AppendUint32(b, max(r.length, uint32(len(r.path))))
	return append(binary.LittleEndian.AppendUint64(b, r.offset), r.path...)
}

func decodeRequest(in io.Reader) (request, error) {
	b := make([]byte, 24)
	if _, err := io.ReadFull(in, b); err != nil {
		return request{}, err
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	r := request{id: word(0), kind: kind(word(4)), file: word(8), length: word(12), offset: binary.LittleEndian.Uint64(b[16:])}
	if r.length > maxLength {
		return request{}, errProtocol
	}
	if r.kind == open {
		path := make([]byte, r.length)
		if _, err := io.ReadFull(in, path); err != nil {
			return request{}, err
		}
		r.path = string(path)
	}
	return r, nil
}

// reply is what a reader answers.
type reply struct {
	id    uint32
	cause uint32 // 0: none
	data  []byte // what was read, less at the end of the device; or the text of the error
}

func (r reply) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, r.id)
	b = binary.LittleEndian.AppendUint32(b, r.cause)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(r.data))), r.data...)
}

func decodeReply(in io.Reader) (reply, error) {
	b := make([]byte, 12)
	if _, err := io.ReadFull(in, b); err != nil {
		return reply{}, err
	}
	r, length := reply{id: binary.LittleEndian.Uint32(b), cause: binary.LittleEndian.Uint32(b[4:])}, binary.LittleEndian.Uint32(b[8:])
	if length > maxLength {
		return reply{}, errProtocol
	}
	r.data = make([]byte, length)
	_, err := io.ReadFull(in, r.data)
	return r, err
}

// causes are the errors that callers tell apart, beside those of the system.
var causes = []error{
	blockdev.ErrBusy, blockdev.ErrNotExist, blockdev.ErrNotBlock, blockdev.ErrReadOnly, blockdev.ErrAlign,
}

// firstCause is the number of the first of causes. Numbers below it are of the system's errors, and firstCause-1 is any other error.
const firstCause = 1 << 16

// causeOf is the number of an error's cause.
func causeOf(err error) uint32 {
	if i := slices.IndexFunc(causes, func(cause error) bool { return errors.Is(err, cause) }); i >= 0 {
		return firstCause + uint32(i)
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return uint32(errno)
	}
	return firstCause - 1
}

// err is the error that a reader has had.
func (r reply) err() error {
	i := int(r.cause) - firstCause
	switch {
	case r.cause == 0:
		return nil
	case i < -1:
		return &remoteError{string(r.data), unix.Errno(r.cause)}
	case i >= 0 && i < len(causes):
		return &remoteError{string(r.data), causes[i]}
	}
	return &remoteError{string(r.data), nil}
}

// remoteError is an error of the reader: its text and its cause.
type remoteError struct {
	text  string
	cause error
}

// Error is the text that the error had in the reader.
func (e *remoteError) Error() string { return e.text }

// Unwrap is the cause; nil when it has no meaning here.
func (e *remoteError) Unwrap() error { return e.cause }
