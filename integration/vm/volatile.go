package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
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
	// maxSector is far beyond any disk of a test.
	maxSector = 1 << 40
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
		e, err := decodeEntry(r, sector)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

// decodeEntry decodes the next entry of a log, with sector for a buffer. At the end of the log, wherever it breaks off, it
// returns io.ErrUnexpectedEOF.
func decodeEntry(r io.Reader, sector []byte) (logEntry, error) {
	_, err := io.ReadFull(r, sector)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return logEntry{}, err
	}
	le := binary.LittleEndian
	at, sectors, flags := le.Uint64(sector), le.Uint64(sector[8:]), le.Uint64(sector[16:])
	e := logEntry{flush: flags&logFlush != 0, at: int64(at) * logSector}
	if sectors == 0 {
		if !e.flush {
			return e, io.ErrUnexpectedEOF // room that QEMU has not used yet
		}
		return e, nil
	}
	if at > maxSector || sectors > maxSector {
		return e, fmt.Errorf("entry for %d sectors at %d", sectors, at)
	}
	e.data, err = io.ReadAll(io.LimitReader(r, int64(sectors)*logSector))
	if err == nil && uint64(len(e.data)) < sectors*logSector {
		err = io.ErrUnexpectedEOF
	}
	return e, err
}

// copyImage copies the image of a disk, with its holes.
func copyImage(ctx context.Context, from, to string) error {
	_, err := run(ctx, "", "cp", "--sparse=always", from, to)
	return err
}
