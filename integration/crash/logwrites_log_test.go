package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// The log of the kernel's dm-log-writes (drivers/md/dm-log-writes.c): sectors of 512 bytes, all integers little-endian.
//
//	sector 0    magic u64, version u64, number of entries u64, sector size u32
//	then, for each entry, one sector:  first sector u64, sectors u64, flags u64, data length u64, the text of a mark
//	                      and, for a write, the sectors it wrote
//
// What was written is logged when a flush after it has ended, in the order in which it ended, then the flush; a write with FUA
// is logged when it has ended. So the entries up to any one of them are what a drive may hold after a power cut there.
const (
	logMagic   = 0x6a736677736872
	logFlush   = 1 << 0
	logFUA     = 1 << 1
	logDiscard = 1 << 2
	logMark    = 1 << 3
	logSector  = 512
	// logEnd is the mark of the kernel when the device goes: everything is in the log.
	logEnd = "dm-log-writes-end"
)

// logged is an entry of a log.
type logged struct {
	Flags uint64
	At    size.Bytes
	Data  []byte // nil unless it is a write
	Mark  string
}

// String is the entry for the text of a failure.
func (e logged) String() string {
	switch {
	case e.Flags&logMark != 0:
		return "mark " + e.Mark
	case e.Flags&logFlush != 0:
		return "flush"
	case e.Flags&logFUA != 0:
		return fmt.Sprintf("write %d bytes at %d, at once durable", len(e.Data), e.At)
	default:
		return fmt.Sprintf("write %d bytes at %d", len(e.Data), e.At)
	}
}

// decodeLog reads a log that is complete.
func decodeLog(r io.Reader) ([]logged, error) {
	sector := make([]byte, logSector)
	if _, err := io.ReadFull(r, sector); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint64(sector) != logMagic || le.Uint64(sector[8:]) != 1 || le.Uint32(sector[24:]) != logSector {
		return nil, fmt.Errorf("not a log of writes: % x", sector[:28])
	}
	var log []logged
	for range le.Uint64(sector[16:]) {
		e, err := decodeLogged(r, sector)
		if err != nil {
			return nil, fmt.Errorf("read log: entry %d: %w", len(log), err)
		}
		log = append(log, e)
	}
	if len(log) == 0 || log[len(log)-1].Mark != logEnd {
		return nil, errors.New("the log has no end: its device was too small")
	}
	return log, nil
}

// decodeLogged reads the next entry of a log, with sector for a buffer.
func decodeLogged(r io.Reader, sector []byte) (logged, error) {
	if _, err := io.ReadFull(r, sector); err != nil {
		return logged{}, err
	}
	le := binary.LittleEndian
	e := logged{At: size.Sectors(le.Uint64(sector)).Bytes(), Flags: le.Uint64(sector[16:])}
	sectors, text := le.Uint64(sector[8:]), le.Uint64(sector[24:])
	switch {
	case text > logSector-32 || sectors > 1<<20:
		return e, fmt.Errorf("%d sectors, %d bytes of text", sectors, text)
	case e.Flags&logMark != 0:
		e.Mark = strings.TrimRight(string(sector[32:32+text]), "\x00")
	case sectors > 0:
		e.Data = make([]byte, sectors*logSector)
		if e.Flags&logDiscard != 0 {
			return e, nil // reads as zeros, as far as these tests care
		}
		_, err := io.ReadFull(r, e.Data)
		return e, err
	}
	return e, nil
}

// ambiguous is an error when the order of two writes to one place cannot be told from the log: one with FUA, which is logged
// at once, and one without, which is logged at the next flush though it may have been made before.
func ambiguous(log []logged) error {
	var fua []logged
	for i, e := range log {
		switch {
		case e.Flags&logFlush != 0:
			fua = nil
		case e.Flags&logFUA != 0:
			fua = append(fua, e)
		case slices.ContainsFunc(fua, e.overlaps):
			return fmt.Errorf("entry %d: %v: as another one that was at once durable", i, e)
		}
	}
	return nil
}

// overlaps reports whether two writes have a place in common.
func (e logged) overlaps(o logged) bool {
	return e.At < o.At+size.Bytes(len(o.Data)) && o.At < e.At+size.Bytes(len(e.Data))
}

// crashPoints is after how many entries of a log, at least from many, a flush or a write with FUA has just made durable what
// was not durable at the point before.
func crashPoints(log []logged, from int) []int {
	var points []int
	written := true
	for i, e := range log[from:] {
		written = written || e.Data != nil
		if written && e.Flags&(logFlush|logFUA) != 0 {
			points = append(points, from+i+1)
			written = false
		}
	}
	return points
}

// lossy is the first n entries of a log, and of those after them up to the next flush what a power cut just before its end
// leaves: all that was durable at once, and some of the others, by blocks. end is where the power fails.
func lossy(log []logged, n int, random *rand.Rand) (left []logged, end int) {
	left = slices.Clone(log[:n])
	for i, e := range log[n:] {
		switch {
		case e.Flags&logFlush != 0:
			return left, n + i
		case e.Data == nil || e.Flags&logFUA != 0:
			left = append(left, e)
		default:
			left = append(left, e.torn(random)...)
		}
	}
	return left, len(log)
}

// torn is some of the blocks of a write.
func (e logged) torn(random *rand.Rand) []logged {
	var left []logged
	for from := size.Bytes(0); from < size.Bytes(len(e.Data)); {
		to := min((e.At+from+lab.BlockSize).RoundDown(lab.BlockSize)-e.At, size.Bytes(len(e.Data)))
		if random.IntN(2) == 0 {
			left = append(left, logged{At: e.At + from, Data: e.Data[from:to]})
		}
		from = to
	}
	return left
}
