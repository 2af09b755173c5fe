package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// fullLUN has every field of a record set.
func fullLUN() LUN {
	l := attach(testLUN(1, 7, testPlex(1, 1, 4, 8)), testLUN(2, 3, testPlex(2, 2, 4, 8)))
	l.RegionSize = 2048
	l.MaxRate = 102400
	l.Former = []uuid.UUID{driveID(9)}
	l.Plexes[0].Slot = SlotB
	l.Last = &Outcome{
		ID: opID(2), Type: vds.AsyncCreateLUN, Started: testTime, Ended: testTime.Add(time.Minute), Result: vds.ErrIO,
	}
	l.Wipe = true
	l.BlockSize, l.Host, l.Copy = 4096, "host-1", true
	l.Histories = []History{{ID: opID(7), Last: 2}, {ID: opID(8)}}
	l.Devices = []Device{
		{Drive: driveID(1), Path: "/dev/sdb", Model: "WDC WD40EFRX-68N", Serial: "WD-WCC7K0123456"}, {Drive: driveID(2), Path: "/dev/mapper/Gerät <1>"},
	}
	l.Plexes[0].Run, l.Plexes[0].Prior = Run{Number: 6, Nonce: math.MaxUint64}, true
	return l
}

// staleLUN has the fields that say how a plex stands which does not hold the data: one is stale, a new one waits for its
// turn to be filled, and is not of a LUN that a cancel could give back.
func staleLUN() LUN {
	stale := testPlex(2, 2, 4, 8)
	stale.Stale = true
	l := testLUN(4, 5, testPlex(1, 1, 4, 8), stale, testPlex(3, 3, 4, 8))
	l.RegionSize = 2048
	l.Operation = &Operation{
		ID: opID(4), Type: vds.AsyncAddLUNPlex, Started: testTime, Plexes: []uuid.UUID{plexID(3)}, Queued: true, Whole: true, Earlier: true,
	}
	return l
}

// extendedLUN is a mirror of which all plexes hold the data, and a new part is resynced.
func extendedLUN() LUN {
	l := testLUN(5, 6, testPlex(4, 1, 20, 8), testPlex(5, 2, 20, 8))
	l.Plexes[0].Data = []Extent{mib(1, 21, 4), mib(4, 5, 4)}
	l.Operation = &Operation{ID: opID(5), Type: vds.AsyncExtendLUN, Started: testTime}
	return l
}

func TestSlotGolden(t *testing.T) {
	deleted := testLUN(3, 2)
	deleted.Deleted = true
	tests := map[string]Catalog{
		"slot.bin":       {Sequence: 0x0123456789ABCDEF, LUNs: []LUN{fullLUN(), deleted}},
		"slot-stale.bin": {Sequence: 3, LUNs: []LUN{staleLUN(), extendedLUN()}},

		"slot-leaving.bin": {Sequence: 4, LUNs: []LUN{leavingLUN(), cancelledLUN()}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := encodeSlot(testLabel(1), c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, b)
		})
	}
}

func TestSlotRoundTrip(t *testing.T) {
	many := make([]LUN, 200)
	for i := range many {
		many[i] = testLUN(i+1, 1, testPlex(i+1, 1, 4+9*i, 8))
	}
	tests := map[string]Catalog{
		"empty":            {Sequence: 1},
		"every field":      {Sequence: maxCount, Features: Features{Compatible: 1, ReadOnly: 2}, LUNs: []LUN{fullLUN()}},
		"stale and queued": {Sequence: 2, LUNs: []LUN{staleLUN(), extendedLUN()}},
		"many blocks long": {Sequence: 2, LUNs: many},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := encodeSlot(testLabel(1), want)
			if err != nil {
				t.Fatal(err)
			}
			if len(b)%blockSize != 0 {
				t.Errorf("length %d is not a multiple of %d", len(b), blockSize)
			}
			f, err := decodeSlot(driveID(1), b)
			if err != nil {
				t.Fatal(err)
			}
			luns, err := decodeBody(f.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, Catalog{Sequence: f.sequence, Features: f.features, LUNs: luns}); diff != "" {
				t.Errorf("catalog (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSlotLimit finds the last catalog that fits and the first that does not.
func TestSlotLimit(t *testing.T) {
	fill := func(spare int) Catalog {
		c := Catalog{Sequence: 1, LUNs: []LUN{{Name: ""}}}
		empty, err := encodeSlot(testLabel(1), c)
		if err != nil {
			t.Fatal(err)
		}
		used, err := slotLen(empty)
		if err != nil {
			t.Fatal(err)
		}
		c.LUNs[0].Name = strings.Repeat("x", int(slotSize)-used-spare)
		return c
	}
	b, err := encodeSlot(testLabel(1), fill(0))
	if err != nil {
		t.Fatal(err)
	}
	if size.Bytes(len(b)) != slotSize {
		t.Errorf("length %d, want %d", len(b), slotSize)
	}
	if _, err := decodeSlot(driveID(1), b); err != nil {
		t.Error(err)
	}
	if _, err := encodeSlot(testLabel(1), fill(-1)); !errors.Is(err, ErrFull) {
		t.Errorf("error %v, want %v", err, ErrFull)
	}
}

func sealSlot(b []byte) {
	used := slotBody + int(binary.LittleEndian.Uint32(b[slotLength:]))
	binary.LittleEndian.PutUint32(b[sumAt:], checksum(b[:min(used, len(b))]))
}

func TestSlotDecodeRefuses(t *testing.T) {
	put32, put64 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	tests := map[string]struct {
		change func(b []byte)
		seal   bool
		want   error
	}{
		"zeros":                 {change: func(b []byte) { clear(b) }, want: errEmpty},
		"another magic":         {change: func(b []byte) { copy(b, "LABELONE") }, seal: true, want: ErrCorrupt},
		"newer version, sealed": {change: func(b []byte) { put32(b[slotVersion:], 2) }, seal: true, want: ErrVersion},
		"newer version, broken": {change: func(b []byte) { put32(b[slotVersion:], 2) }, want: ErrVersion},
		"newer, absurd length":  {change: func(b []byte) { put32(b[slotVersion:], 2); put32(b[slotLength:], 1<<31) }, want: ErrVersion},
		"bit in text":           {change: func(b []byte) { b[slotBody+3] ^= 1 }, want: ErrChecksum},
		"bit in sequence":       {change: func(b []byte) { b[slotSequence] ^= 1 }, want: ErrChecksum},
		"length too short":      {change: func(b []byte) { b[slotLength]-- }, want: ErrChecksum},
		"length beyond slot":    {change: func(b []byte) { put32(b[slotLength:], uint32(maxBody)+1) }, want: ErrInvalid},
		"length beyond bytes":   {change: func(b []byte) { put32(b[slotLength:], uint32(maxBody)) }, want: ErrInvalid},
		"length of 4 GiB":       {change: func(b []byte) { put32(b[slotLength:], 0xffffffff) }, want: ErrInvalid},
		"of another drive":      {change: func(b []byte) { b[slotDrive] ^= 1 }, seal: true, want: ErrInvalid},
		"sequence zero":         {change: func(b []byte) { put64(b[slotSequence:], 0) }, seal: true, want: ErrInvalid},
		"sequence at the end":   {change: func(b []byte) { put64(b[slotSequence:], maxCount+1) }, seal: true, want: ErrInvalid},
		"unknown feature":       {change: func(b []byte) { put32(b[slotFeature+8:], 1) }, seal: true, want: ErrVersion},
		"drive too small":       {change: func(b []byte) { put64(b[slotSizeAt:], uint64(MinDriveSize-size.Sector)) }, seal: true, want: ErrInvalid},
		"drive too large":       {change: func(b []byte) { put64(b[slotSizeAt:], uint64(MaxSize+size.Sector)) }, seal: true, want: ErrInvalid},
		"drive of half sectors": {change: func(b []byte) { put64(b[slotSizeAt:], uint64(testDriveSize+1)) }, seal: true, want: ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := encodeSlot(testLabel(1), Catalog{Sequence: 5, LUNs: []LUN{fullLUN()}})
			if err != nil {
				t.Fatal(err)
			}
			tt.change(b)
			if tt.seal {
				sealSlot(b)
			}
			if _, err := decodeSlot(driveID(1), b); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestBodyRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":              {``, "EOF"},
		"no JSON":              {`hello`, "invalid character"},
		"cut off":              {`{"luns":[{"id"`, "unexpected EOF"},
		"unknown field":        {`{"luns":[],"shiny":1}`, `unknown field "shiny"`},
		"unknown record field": {`{"luns":[{"colour":"red"}]}`, `unknown field "colour"`},
		"unknown plex field":   {`{"luns":[{"plexes":[{"raid":6}]}]}`, `unknown field "raid"`},
		"text after the end":   {`{"luns":[]} {}`, "text after its end"},
		"rubbish after it":     {`{"luns":[]}x`, "text after its end"},
		"negative size":        {`{"luns":[{"sectors":-1}]}`, "sectors"},
		"fraction":             {`{"luns":[{"sectors":1.5}]}`, "sectors"},
		"size beyond 64 bits":  {`{"luns":[{"sectors":18446744073709551616}]}`, "sectors"},
		"GUID too short":       {`{"luns":[{"id":"1234"}]}`, "UUID"},
		"stale is no truth":    {`{"luns":[{"plexes":[{"stale":1}]}]}`, "stale"},
		"queued is no truth":   {`{"luns":[{"operation":{"queued":"yes"}}]}`, "queued"},
		"unknown operation":    {`{"luns":[{"operation":{"type":"fly"}}]}`, "fly"},
		"unknown result":       {`{"luns":[{"lastOperation":{"result":"E_FLY"}}]}`, "E_FLY"},
		"array for object":     {`[]`, "[ where { should be"},
		"deep nesting":         {`{"luns":[` + strings.Repeat(`[`, 100000), "16 levels"},
		"long string":          {`{"luns":[{"name":"` + strings.Repeat("x", 600), "more than 512 bytes"},
		"many values":          {`{"luns":[{"plexes":[` + strings.Repeat(`{}                    ,`, 300), "more than 256 values"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			luns, err := decodeBody([]byte(tt.text))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("%d records, error %v, want %q", len(luns), err, tt.want)
			}
		})
	}
}
