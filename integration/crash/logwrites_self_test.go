package crash

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// encodeLog is a log as the kernel writes it.
func encodeLog(log []logged) []byte {
	var out bytes.Buffer
	sector := func(text string, numbers ...uint64) {
		head := make([]byte, logSector)
		for i, n := range numbers {
			binary.LittleEndian.PutUint64(head[8*i:], n)
		}
		copy(head[32:], text)
		out.Write(head)
	}
	sector("", logMagic, 1, uint64(len(log)), logSector)
	for _, e := range log {
		sector(e.Mark, uint64(e.At.Sectors()), uint64(len(e.Data)/logSector), e.Flags, uint64(len(e.Mark)))
		if e.Flags&logDiscard == 0 {
			out.Write(e.Data)
		}
	}
	return out.Bytes()
}

// sectorsOf is sectors full of a letter.
func sectorsOf(letter string, n int) []byte { return []byte(strings.Repeat(letter, n*logSector)) }

func TestLogWritesDecode(t *testing.T) {
	log := []logged{
		{At: 8 * size.KiB, Data: sectorsOf("a", 8)},
		{Flags: logFlush},
		{Flags: logFUA, At: 512, Data: sectorsOf("b", 1)},
		{Flags: logMark, Mark: "acked-17"},
		{Flags: logDiscard, At: size.MiB, Data: make([]byte, 8*logSector)},
		{Flags: logMark, Mark: logEnd},
	}
	whole := encodeLog(log)
	got, err := decodeLog(bytes.NewReader(whole))
	lab.Must(t, err)
	if diff := cmp.Diff(log, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	broken := func(at int, b byte) []byte {
		p := bytes.Clone(whole)
		p[at] = b
		return p
	}
	for name, p := range map[string][]byte{
		"nothing":          nil,
		"no magic":         broken(0, 1),
		"other version":    broken(8, 2),
		"other sector":     broken(25, 16),
		"half an entry":    whole[:logSector+100],
		"half the data":    whole[:3*logSector],
		"a text too long":  broken(logSector+25, 255),
		"a write too long": broken(logSector+13, 255),
		"no entries":       encodeLog(nil),
		"no end":           encodeLog(log[:5]),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decodeLog(bytes.NewReader(p)); err == nil {
				t.Errorf("decoded as %v", got)
			}
		})
	}
}

func TestLogWritesAmbiguous(t *testing.T) {
	write := func(flags uint64, at size.Bytes) logged { return logged{Flags: flags, At: at, Data: sectorsOf("a", 2)} }
	for name, tt := range map[string]struct {
		log  []logged
		want bool
	}{
		"same place":          {[]logged{write(logFUA, 1024), write(0, 1024)}, true},
		"a sector in common":  {[]logged{write(logFUA, 1024), write(0, 512)}, true},
		"side by side":        {[]logged{write(logFUA, 1024), write(0, 0), write(0, 2048)}, false},
		"a flush between":     {[]logged{write(logFUA, 1024), {Flags: logFlush}, write(0, 1024)}, false},
		"both durable":        {[]logged{write(logFUA, 1024), write(logFUA, 1024)}, false},
		"flushed, then again": {[]logged{write(0, 1024), {Flags: logFlush}, write(logFUA, 1024)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := ambiguous(tt.log); (err != nil) != tt.want {
				t.Errorf("%v, want an error: %v", err, tt.want)
			}
		})
	}
}

func TestLogWritesPoints(t *testing.T) {
	write, flush := logged{Data: sectorsOf("a", 1)}, logged{Flags: logFlush}
	fua, mark := logged{Flags: logFUA, Data: sectorsOf("b", 1)}, logged{Flags: logMark, Mark: "x"}
	log := []logged{write, flush, write, flush, flush, mark, flush, fua, write, fua, write}
	if diff := cmp.Diff([]int{4, 8, 10}, crashPoints(log, 2)); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if got := crashPoints(log[:3], 2); got != nil {
		t.Errorf("points of what nothing made durable: %v", got)
	}
}

// What a cut leaves: all up to a point and all that was durable at once; of the rest not always the same, and some only in
// part, by whole blocks.
func TestLogWritesLossy(t *testing.T) {
	const long = 4
	log := []logged{
		{At: 0, Data: sectorsOf("a", 8)},
		{Flags: logFlush},
		{At: 512, Data: sectorsOf("b", 8*long)},
		{Flags: logFUA, At: size.MiB, Data: sectorsOf("c", 8)},
		{Flags: logFlush},
		{At: 0, Data: sectorsOf("d", 8)},
	}
	random, seen := rand.New(rand.NewPCG(1, 2)), map[int]bool{}
	for range 500 {
		left, end := lossy(log, 2, random)
		if end != 4 {
			t.Fatalf("the power fails after %d entries, want 4", end)
		}
		m := image{}.after(left)
		if m[0] == nil || m[0][0] != 'a' || m[size.MiB] == nil || m[size.MiB][0] != 'c' {
			t.Fatal("something that was durable is lost")
		}
		pieces := 0
		for at := range size.Bytes(long + 1) {
			if block := m[at*lab.BlockSize]; block != nil && block[lab.BlockSize-logSector] != block[lab.BlockSize-1] {
				t.Fatalf("a sector of block %d is torn", at)
			} else if block != nil && (block[logSector] == 'b' || block[0] == 'b') {
				pieces++
			}
		}
		seen[pieces] = true
	}
	if len(seen) != long+2 {
		t.Errorf("numbers of blocks that were there: %v, want 0 to %d", seen, long+1)
	}
}

func TestLogWritesImage(t *testing.T) {
	m := image{}.after([]logged{{At: 3584, Data: sectorsOf("a", 2)}})
	older := m
	m = m.after([]logged{{At: 4096, Data: sectorsOf("b", 1)}})
	if m[0][3584] != 'a' || m[4096][0] != 'b' || older[4096][0] != 'a' || m[0][3583] != 0 {
		t.Error("a write does not go where it should, or changes what was taken before it")
	}
	part := m.slice(4096, 4096)
	if len(part) != 1 || part[0] == nil || part[0][0] != 'b' {
		t.Errorf("slice %v", part)
	}
}
