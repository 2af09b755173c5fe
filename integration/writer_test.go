package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// blockSize is the size of one write.
const blockSize = 4 * size.KiB

// stamps is an endless sequence of writes of one block each. Write n (the first is 1) goes to a block that follows from
// the seed and n, and what it writes says so. Knowing how many writes were acknowledged is therefore knowing what must be
// on the device, also after a power cut, in another process:
//
//	 0        8        16       24       32                        4092     4096
//	┌────────┬────────┬────────┬────────┬──────────────────────────┬────────┐
//	│ seed   │ block  │ n      │ zero   │ n, over and over         │ CRC32C │
//	└────────┴────────┴────────┴────────┴──────────────────────────┴────────┘
type stamps struct {
	seed   uint64
	length size.Bytes // of the range written to, from the start of the device or file
}

// block is where write n goes.
func (s stamps) block(n uint64) uint64 {
	return rand.NewPCG(s.seed, n).Uint64() % uint64(s.length/blockSize)
}

// fill makes p the content of write n.
func (s stamps) fill(p []byte, n uint64) {
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], n)
	}
	binary.LittleEndian.PutUint64(p[0:], s.seed)
	binary.LittleEndian.PutUint64(p[8:], s.block(n))
	binary.LittleEndian.PutUint64(p[24:], 0)
	binary.LittleEndian.PutUint32(p[blockSize-4:], checksum(p))
}

// checksum is that of a block's content.
func checksum(p []byte) uint32 {
	return crc32.Checksum(p[:blockSize-4], crc32.MakeTable(crc32.Castagnoli))
}

// read is the number of the write whose content p is, 0 if p is all zero; block is where p was read.
func (s stamps) read(p []byte, block uint64) (uint64, error) {
	if !slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) {
		return 0, nil
	}
	seed, wrote, n := binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[16:])
	switch {
	case binary.LittleEndian.Uint32(p[blockSize-4:]) != checksum(p):
		return 0, fmt.Errorf("block %d: torn or foreign: % x …", block, p[:32])
	case seed != s.seed || wrote != block || s.block(n) != block:
		return 0, fmt.Errorf("block %d: holds write %d to block %d of seed %x", block, n, wrote, seed)
	}
	return n, nil
}

// check compares the device with the first acked writes of the sequence: every block holds the last of them that went
// there or one of the (at most inFlight) writes after them. It reads past the page cache.
func (s stamps) check(path string, acked, inFlight uint64) error {
	want := map[uint64]uint64{}
	for n := uint64(1); n <= acked; n++ {
		want[s.block(n)] = n
	}
	f, err := openDirect(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := alignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	var wrong []error
	for at := size.Bytes(0); at < s.length; at += size.MiB {
		part := chunk[:min(size.MiB, s.length-at)]
		if _, err := f.ReadAt(part, int64(at)); err != nil {
			return err
		}
		wrong = append(wrong, s.checkChunk(part, uint64(at/blockSize), want, acked+inFlight)...)
	}
	return firstOf(wrong)
}

// checkChunk is check for what was read from the given block on.
func (s stamps) checkChunk(chunk []byte, block uint64, want map[uint64]uint64, last uint64) []error {
	var wrong []error
	for p := range slices.Chunk(chunk, int(blockSize)) {
		n, err := s.read(p, block)
		if err == nil && (n < want[block] || n > last) {
			err = fmt.Errorf("block %d: holds write %d, want %d, or later up to %d", block, n, want[block], last)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
		block++
	}
	return wrong
}

// firstOf is the first few of many errors.
func firstOf(all []error) error {
	if len(all) > 5 {
		return fmt.Errorf("%w\n… and %d more blocks", errors.Join(all[:5]...), len(all)-5)
	}
	return errors.Join(all...)
}

// openDirect opens a device or file past the page cache.
func openDirect(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, flags|unix.O_DIRECT, 0)
}

// alignedBuffer is memory that O_DIRECT takes.
func alignedBuffer(length size.Bytes) []byte {
	p, err := unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err) // out of memory
	}
	return p
}

// writer is a goroutine that writes stamps, one after the other, until it is stopped.
type writer struct {
	stamps
	path    string
	flags   int           // besides O_DIRECT: unix.O_DSYNC makes every acknowledged write a durable one
	onAck   func(uint64)  // called after each acknowledged write with its number; may be nil
	limit   uint64        // number of the last write; 0 for no end
	acked   atomic.Uint64 // number of the last write that was acknowledged
	stopped atomic.Bool
	ended   chan struct{}
	err     error           // what ended it before it was stopped
	waits   []time.Duration // how long each write took
}

// startWriter starts a writer on the first length bytes of the device or file. It ends with the test at the latest.
func startWriter(t testing.TB, path string, length size.Bytes) *writer {
	t.Helper()
	w := &writer{path: path, stamps: stamps{seed: rand.Uint64(), length: length}}
	w.start(t)
	return w
}

// start starts w, whose path and stamps are set.
func (w *writer) start(t testing.TB) {
	t.Helper()
	f, err := openDirect(w.path, os.O_RDWR|w.flags)
	if err != nil {
		t.Fatal(err)
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		w.err = errors.Join(w.write(f), f.Close())
	}()
	t.Cleanup(w.stop)
}

// write writes until w is stopped or a write fails.
func (w *writer) write(f *os.File) error {
	p := alignedBuffer(blockSize)
	defer unix.Munmap(p)
	for n := w.acked.Load() + 1; !w.stopped.Load() && (w.limit == 0 || n <= w.limit); n++ {
		w.fill(p, n)
		start := time.Now()
		if _, err := f.WriteAt(p, int64(w.block(n))*int64(blockSize)); err != nil {
			return fmt.Errorf("write %d: %w", n, err)
		}
		w.waits = append(w.waits, time.Since(start))
		w.acked.Store(n)
		if w.onAck != nil {
			w.onAck(n)
		}
	}
	return nil
}

// stop stops w and waits until it has ended.
func (w *writer) stop() {
	w.stopped.Store(true)
	<-w.ended
}

// finish stops w, fails the test if a write failed or none was made, compares the device with what was acknowledged, and
// returns how long the writes took.
func (w *writer) finish(t testing.TB) latency {
	t.Helper()
	w.stop()
	if w.err != nil {
		t.Fatalf("writer on %s: %v", w.path, w.err)
	}
	if w.acked.Load() == 0 {
		t.Fatalf("writer on %s: no write was acknowledged", w.path)
	}
	w.verify(t, w.path)
	return latencyOf(w.waits)
}

// verify fails the test unless the device at path, the writer's own or a copy of it, holds what was acknowledged. The
// writer must have stopped.
func (w *writer) verify(t testing.TB, path string) {
	t.Helper()
	inFlight := uint64(0)
	if w.err != nil {
		inFlight = 1 // the failed write may be there, or not
	}
	if err := w.check(path, w.acked.Load(), inFlight); err != nil {
		t.Errorf("%s differs from %d acknowledged writes: %v", path, w.acked.Load(), err)
	}
}

// latency sums up how long writes took.
type latency struct {
	writes        int
	p50, p99, max time.Duration
}

// latencyOf sums up waits.
func latencyOf(waits []time.Duration) latency {
	if len(waits) == 0 {
		return latency{}
	}
	sorted := slices.Sorted(slices.Values(waits))
	at := func(percent int) time.Duration { return sorted[(len(sorted)-1)*percent/100] }
	return latency{writes: len(sorted), p50: at(50), p99: at(99), max: at(100)}
}

// String is the summary for a log: "812 writes, p50 210µs, p99 1.2ms, max 31ms".
func (l latency) String() string {
	return fmt.Sprintf("%d writes, p50 %v, p99 %v, max %v", l.writes, l.p50, l.p99, l.max)
}
