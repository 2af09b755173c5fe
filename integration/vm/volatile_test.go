package vm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encodeLog is a log as QEMU writes it.
func encodeLog(entries ...logEntry) []byte {
	le := binary.LittleEndian
	sector := func(fields ...uint64) []byte {
		p := make([]byte, 0, logSector)
		for _, field := range fields {
			p = le.AppendUint64(p, field)
		}
		return p[:logSector]
	}
	log := sector(logMagic, logVersion, 0, logSector) // the number of entries is what it was at the last flush
	for _, e := range entries {
		flags := uint64(0)
		if e.flush {
			flags = logFlush
		}
		log = append(log, sector(uint64(e.at/logSector), uint64(len(e.data)/logSector), flags, 0)...)
		log = append(log, e.data...)
	}
	return log
}

// write is an entry for a write of one sector.
func write(at int64, content byte) logEntry {
	return logEntry{at: at, data: bytes.Repeat([]byte{content}, logSector)}
}

func TestDecodeLog(t *testing.T) {
	entries := []logEntry{write(0, 'a'), write(4096, 'b'), {flush: true}, write(8192, 'c')}
	whole := encodeLog(entries...)
	for _, tt := range []struct {
		name string
		log  []byte
		want []logEntry
	}{
		{"whole", whole, entries},
		{"last entry without all its data", whole[:len(whole)-1], entries[:3]},
		{"last entry without its data", whole[:len(whole)-logSector], entries[:3]},
		{"last entry without all its head", whole[:len(whole)-logSector-1], entries[:3]},
		{"zeroes behind the last entry", append(bytes.Clone(whole), make([]byte, 4*logSector)...), entries},
		{"empty", encodeLog(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeLog(bytes.NewReader(tt.log))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(logEntry{})); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
	for name, log := range map[string][]byte{
		"nothing": nil, "short": whole[:100], "foreign": make([]byte, 2*logSector), "data first": whole[logSector:],
		"absurd length": slices.Replace(bytes.Clone(whole), logSector+8, logSector+16, bytes.Repeat([]byte{0xff}, 8)...),
	} {
		if got, err := decodeLog(bytes.NewReader(log)); err == nil {
			t.Errorf("%s: decoded to %v", name, got)
		}
	}
}

func TestSurviving(t *testing.T) {
	a, b, c, flush := write(0, 'a'), write(4096, 'b'), write(8192, 'c'), logEntry{flush: true}
	for _, tt := range []struct {
		name string
		log  []logEntry
		kept []logEntry // when all that may be lost is lost
	}{
		{"nothing flushed", []logEntry{a, b, c}, nil},
		{"all flushed", []logEntry{a, b, c, flush}, []logEntry{a, b, c}},
		{"last one not flushed", []logEntry{a, flush, b, flush, c}, []logEntry{a, b}},
		{"first one not flushed", []logEntry{flush, a}, nil},
		{"nothing written", []logEntry{flush, flush}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := surviving(tt.log, func() bool { return true })
			if diff := cmp.Diff(tt.kept, got, cmp.AllowUnexported(logEntry{})); diff != "" {
				t.Errorf("when all is lost (-want +got):\n%s", diff)
			}
			for _, e := range surviving(tt.log, func() bool { return false }) {
				if e.flush {
					t.Error("a flush survives as a write")
				}
			}
		})
	}
}

func FuzzDecodeLog(f *testing.F) {
	f.Add(encodeLog(write(0, 'a'), logEntry{flush: true}, write(4096, 'b')))
	f.Add(encodeLog())
	f.Add([]byte("not a log"))
	f.Fuzz(func(t *testing.T, log []byte) {
		entries, err := decodeLog(bytes.NewReader(log))
		if err != nil {
			return
		}
		again, err := decodeLog(bytes.NewReader(encodeLog(entries...)))
		if diff := cmp.Diff(entries, again, cmp.AllowUnexported(logEntry{})); diff != "" || err != nil {
			t.Errorf("decoded again: %v (-want +got):\n%s", err, diff)
		}
	})
}
