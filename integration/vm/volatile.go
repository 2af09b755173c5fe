package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/plexctl/plexctl/size"
)

// The log of a Disk with Volatile set is written by QEMU's filter blklogwrites, in the format of the kernel's
// dm-log-writes (drivers/md/dm-log-writes.c): sectors of 512 bytes, all integers little-endian.
//
//	sector 0    magic u64, version u64, number of entries u64, sector size u32
//	then, for each entry, one sector:  first sector u64, sectors u64, flags u64, data length u64
//	                      and, for a write, the sectors it wrote
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	logFlush   = 1 << 0
	logSector  = 512
)

// logEntry is a write, or a flush of all writes before it.
type logEntry struct {
	flush bool
	at    int64 // offset on the disk
	data  []byte
}

// losePower makes image what a disk with a volatile cache holds after a power cut. image is what it held at boot, the log
// is what was written to it since. Writes before the last flush are there; each one after it may be there or not.
func losePower(image, log string) error {
	entries, err := readLog(log)
	if err != nil {
		return fmt.Errorf("replay %s: %w", log, err)
	}
	return replay(image, surviving(entries, func() bool { return rand.IntN(2) == 0 }))
}

// surviving is the writes of a log that survive a power cut at its end. Of those that no flush followed, lose decides.
func surviving(entries []logEntry, lose func() bool) []logEntry {
	flushed := 0
	for i, e := range entries {
		if e.flush {
			flushed = i
		}
	}
	var writes []logEntry
	for i, e := range entries {
		if !e.flush && (i < flushed || !lose()) {
			writes = append(writes, e)
		}
	}
	return writes
}

// replay makes writes on the image.
func replay(image string, writes []logEntry) error {
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, w := range writes {
		if _, err := f.WriteAt(w.data, w.at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// readLog reads the log in a file. QEMU was killed: the number of entries in sector 0 is not the last one, and the last
// entry may be cut short; it was then never acknowledged.
func readLog(file string) ([]logEntry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return decodeLog(f)
}

// decodeLog reads a log to its end, or to its first sector that is no entry.
func decodeLog(r io.Reader) ([]logEntry, error) {
	sector := make([]byte, logSector)
	if _, err := io.ReadFull(r, sector); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint64(sector) != logMagic || le.Uint64(sector[8:]) != logVersion || le.Uint32(sector[24:]) != logSector {
		return nil, fmt.Errorf("not a log of writes: % x", sector[:28])
	}
	var entries []logEntry
	for {
		_, err := io.ReadFull(r, sector)
		e := logEntry{flush: le.Uint64(sector[16:])&logFlush != 0, at: int64(le.Uint64(sector)) * logSector}
		length := le.Uint64(sector[8:]) * logSector
		if err == nil && length > 0 {
			e.data = make([]byte, min(length, uint64(size.GiB)))
			_, err = io.ReadFull(r, e.data)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || !e.flush && length == 0:
			return entries, nil
		case err != nil:
			return nil, err
		}
		entries = append(entries, e)
	}
}

// copyImage copies the image of a disk, with its holes.
func copyImage(ctx context.Context, from, to string) error {
	_, err := run(ctx, "", "cp", "--sparse=always", from, to)
	return err
}
