package lab

import (
	"bytes"
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

// BlockSize is the size of one write.
const BlockSize = 4 * size.KiB

// Stamps is an endless sequence of writes of one block each. Write n (the first is 1) goes to a block that follows from
// the seed and n, and what it writes says so. Knowing how many writes were acknowledged is therefore knowing what must be
// on the device, also after a power cut, in another process:
//
//	 0        8        16       24       32                        4092     4096
//	┌────────┬────────┬────────┬────────┬──────────────────────────┬────────┐
//	│ seed   │ block  │ n      │ zero   │ n, over and over         │ CRC32C │
//	└────────┴────────┴────────┴────────┴──────────────────────────┴────────┘
type Stamps struct {
	Seed   uint64
	Length size.Bytes // of the range written to, from the start of the device or file
}

// Block is where write n goes.
func (s Stamps) Block(n uint64) uint64 {
	return rand.NewPCG(s.Seed, n).Uint64() % uint64(s.Length/BlockSize)
}

// Fill makes p the content of write n.
func (s Stamps) Fill(p []byte, n uint64) {
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], n)
	}
	binary.LittleEndian.PutUint64(p[0:], s.Seed)
	binary.LittleEndian.PutUint64(p[8:], s.Block(n))
	binary.LittleEndian.PutUint64(p[24:], 0)
	binary.LittleEndian.PutUint32(p[BlockSize-4:], checksum(p))
}

// checksum is that of a block's content.
func checksum(p []byte) uint32 {
	return crc32.Checksum(p[:BlockSize-4], crc32.MakeTable(crc32.Castagnoli))
}

var zeroBlock [BlockSize]byte

// Read is the number of the write whose content p is, 0 if p is all zero; block is where p was read.
func (s Stamps) Read(p []byte, block uint64) (uint64, error) {
	if bytes.Equal(p, zeroBlock[:]) {
		return 0, nil
	}
	seed, wrote, n := binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[16:])
	switch {
	case binary.LittleEndian.Uint32(p[BlockSize-4:]) != checksum(p):
		return 0, fmt.Errorf("block %d: torn or foreign: % x …", block, p[:32])
	case seed != s.Seed || wrote != block || s.Block(n) != block:
		return 0, fmt.Errorf("block %d: holds write %d to block %d of seed %x", block, n, wrote, seed)
	}
	return n, nil
}

// Check compares the device with the first acked writes of the sequence: every block holds the last of them that went
// there or one of the (at most inFlight) writes after them. It reads past the page cache.
func (s Stamps) Check(path string, acked, inFlight uint64) error {
	want := map[uint64]uint64{}
	for n := uint64(1); n <= acked; n++ {
		want[s.Block(n)] = n
	}
	f, err := OpenDirect(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := AlignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	var wrong []error
	for at := size.Bytes(0); at < s.Length; at += size.MiB {
		part := chunk[:min(size.MiB, s.Length-at)]
		if _, err := f.ReadAt(part, int64(at)); err != nil {
			return err
		}
		wrong = append(wrong, s.checkChunk(part, uint64(at/BlockSize), want, acked+inFlight)...)
	}
	return firstOf(wrong)
}

// checkChunk is check for what was read from the given block on.
func (s Stamps) checkChunk(chunk []byte, block uint64, want map[uint64]uint64, last uint64) []error {
	var wrong []error
	for p := range slices.Chunk(chunk, int(BlockSize)) {
		n, err := s.Read(p, block)
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

// OpenDirect opens a device or file past the page cache.
func OpenDirect(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, flags|unix.O_DIRECT, 0)
}

// AlignedBuffer is memory that O_DIRECT takes.
func AlignedBuffer(length size.Bytes) []byte {
	p, err := unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err) // out of memory
	}
	return p
}

// Writer is a goroutine that writes stamps, one after the other, until it is stopped.
type Writer struct {
	Stamps
	Path    string
	Flags   int           // besides O_DIRECT: unix.O_DSYNC makes every acknowledged write a durable one
	OnAck   func(uint64)  // called after each acknowledged write with its number; may be nil
	Limit   uint64        // number of the last write; 0 for no end
	Rests   bool          // it rests after every few writes
	Acked   atomic.Uint64 // number of the last write that was acknowledged
	Stopped atomic.Bool
	Ended   chan struct{}
	Err     error           // what ended it before it was stopped
	Waits   []time.Duration // how long each write took
}

// A writer that rests makes so many writes, one right after the other, and then none for that long. One that does not takes all
// the processor time that an emulated machine has.
const (
	burst = 8
	rest  = 20 * time.Millisecond
)

// StartWriter starts a writer that rests on the first length bytes of the device or file. It ends with the test at the latest.
func StartWriter(t testing.TB, path string, length size.Bytes) *Writer {
	t.Helper()
	w := &Writer{Path: path, Rests: true, Stamps: Stamps{Seed: rand.Uint64(), Length: length}}
	w.Start(t)
	return w
}

// Start starts w, whose path and stamps are set.
func (w *Writer) Start(t testing.TB) {
	t.Helper()
	f, err := OpenDirect(w.Path, os.O_RDWR|w.Flags)
	if err != nil {
		t.Fatal(err)
	}
	w.Ended = make(chan struct{})
	go func() {
		defer close(w.Ended)
		w.Err = errors.Join(w.write(f), f.Close())
	}()
	t.Cleanup(w.Stop)
}

// write writes until w is stopped or a write fails.
func (w *Writer) write(f *os.File) error {
	p := AlignedBuffer(BlockSize)
	defer unix.Munmap(p)
	for n := w.Acked.Load() + 1; !w.Stopped.Load() && (w.Limit == 0 || n <= w.Limit); n++ {
		w.Fill(p, n)
		start := time.Now()
		if _, err := f.WriteAt(p, int64(w.Block(n))*int64(BlockSize)); err != nil {
			return fmt.Errorf("write %d: %w", n, err)
		}
		w.Waits = append(w.Waits, time.Since(start))
		w.Acked.Store(n)
		if w.OnAck != nil {
			w.OnAck(n)
		}
		if w.Rests && n%burst == 0 {
			time.Sleep(rest)
		}
	}
	return nil
}

// Stop stops w and waits until it has ended.
func (w *Writer) Stop() {
	w.Stopped.Store(true)
	<-w.Ended
}

// Finish stops w, fails the test if a write failed or none was made, compares the device with what was acknowledged, and
// returns how long the writes took.
func (w *Writer) Finish(t testing.TB) Latency {
	t.Helper()
	w.Stop()
	if w.Err != nil {
		t.Fatalf("writer on %s: %v", w.Path, w.Err)
	}
	if w.Acked.Load() == 0 {
		t.Fatalf("writer on %s: no write was acknowledged", w.Path)
	}
	w.Verify(t, w.Path)
	return LatencyOf(w.Waits)
}

// Verify fails the test unless the device at path, the writer's own or a copy of it, holds what was acknowledged. The
// writer must have stopped.
func (w *Writer) Verify(t testing.TB, path string) {
	t.Helper()
	inFlight := uint64(0)
	if w.Err != nil {
		inFlight = 1 // the failed write may be there, or not
	}
	if err := w.Check(path, w.Acked.Load(), inFlight); err != nil {
		t.Errorf("%s differs from %d acknowledged writes: %v", path, w.Acked.Load(), err)
	}
}

// Latency sums up how long writes took.
type Latency struct {
	Writes        int
	P50, P99, Max time.Duration
}

// LatencyOf sums up waits.
func LatencyOf(waits []time.Duration) Latency {
	if len(waits) == 0 {
		return Latency{}
	}
	sorted := slices.Sorted(slices.Values(waits))
	at := func(percent int) time.Duration { return sorted[(len(sorted)-1)*percent/100] }
	return Latency{Writes: len(sorted), P50: at(50), P99: at(99), Max: at(100)}
}

// String is the summary for a log: "812 writes, p50 210µs, p99 1.2ms, max 31ms".
func (l Latency) String() string {
	return fmt.Sprintf("%d writes, p50 %v, p99 %v, max %v", l.Writes, l.P50, l.P99, l.Max)
}
