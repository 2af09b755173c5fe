package catalog

import (
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

var update = flag.Bool("update", false, "write the golden files anew: only together with a new format version")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestLabelGolden(t *testing.T) {
	b, err := encodeLabel(Label{
		Drive:   uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"),
		Size:    0x123456789A00,
		Host:    "0123456789abcdef0123456789abcdef",
		Created: testTime,

		Hardware: "wwn:naa.5000c500a1b2c3d4",
		Features: Features{Compatible: 0x01020304, ReadOnly: 0x05060708},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "label.bin", b)
}

func TestLabelRoundTrip(t *testing.T) {
	tests := map[string]Label{
		"all values":        testLabel(1),
		"no host":           {Drive: driveID(1), Size: testDriveSize, Created: testTime},
		"longest host":      {Drive: driveID(1), Size: testDriveSize, Host: strings.Repeat("h", 64), Created: testTime},
		"time not known":    {Drive: driveID(1), Size: testDriveSize},
		"smallest drive":    {Drive: driveID(1), Size: MinDriveSize},
		"largest drive":     {Drive: driveID(1), Size: MaxSize},
		"odd sectors":       {Drive: driveID(1), Size: MinDriveSize + size.Sector},
		"last time":         {Drive: driveID(1), Size: MinDriveSize, Created: time.Unix(lastSecond, 0).UTC()},
		"first time":        {Drive: driveID(1), Size: MinDriveSize, Created: time.Unix(1, 0).UTC()},
		"highest drive id":  {Drive: uuid.Max, Size: MinDriveSize},
		"longest hardware":  {Drive: driveID(1), Size: MinDriveSize, Hardware: strings.Repeat("~", MaxHardware)},
		"features":          {Drive: driveID(1), Size: MinDriveSize, Features: Features{Compatible: 1 << 31, ReadOnly: 1}},
		"all kinds of host": {Drive: driveID(1), Size: MinDriveSize, Host: "a-Z_0.9:~!"},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := encodeLabel(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeLabel(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelKeepsSeconds(t *testing.T) {
	in := testLabel(1)
	in.Created = testTime.Add(999 * time.Millisecond).In(time.FixedZone("east", 3600))
	b, err := encodeLabel(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeLabel(b)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Created.Equal(testTime) {
		t.Errorf("created %s, want %s", got.Created, testTime)
	}
}

func TestLabelEncodeRefuses(t *testing.T) {
	tests := map[string]func(*Label){
		"no drive":              func(l *Label) { l.Drive = uuid.Nil },
		"too small":             func(l *Label) { l.Size = MinDriveSize - size.Sector },
		"too large":             func(l *Label) { l.Size = MaxSize + size.Sector },
		"half a sector":         func(l *Label) { l.Size += 100 },
		"host too long":         func(l *Label) { l.Host = strings.Repeat("h", 65) },
		"host with a newline":   func(l *Label) { l.Host = "a\nb" },
		"host with a space":     func(l *Label) { l.Host = "a b" },
		"host with a zero byte": func(l *Label) { l.Host = "a\x00" },
		"host beyond ASCII":     func(l *Label) { l.Host = "höst" },
		"hardware too long":     func(l *Label) { l.Hardware = strings.Repeat("h", MaxHardware+1) },
		"hardware with a space": func(l *Label) { l.Hardware = "a b" },
		"before 1970":           func(l *Label) { l.Created = time.Unix(-1, 0) },
		"second zero of 1970":   func(l *Label) { l.Created = time.Unix(0, 0) },
		"after 9999":            func(l *Label) { l.Created = time.Unix(lastSecond+1, 0) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := testLabel(1)
			change(&l)
			if _, err := encodeLabel(l); !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v, want %v", err, ErrInvalid)
			}
		})
	}
}

// sealLabel gives a label that a test has changed its right checksum.
func sealLabel(b []byte) { binary.LittleEndian.PutUint32(b[sumAt:], checksum(b)) }

func TestLabelDecodeRefuses(t *testing.T) {
	put32, put64 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	tests := map[string]struct {
		change func(b []byte)
		seal   bool
		want   error
	}{
		"zeros":                    {change: func(b []byte) { clear(b) }, want: ErrNoLabel},
		"another magic":            {change: func(b []byte) { b[0] = 'p' }, want: ErrNoLabel},
		"another magic, sealed":    {change: func(b []byte) { b[7]++ }, seal: true, want: ErrNoLabel},
		"newer version, sealed":    {change: func(b []byte) { put32(b[labelVersion:], 2) }, seal: true, want: ErrVersion},
		"newer version, not ours":  {change: func(b []byte) { put32(b[labelVersion:], 9); clear(b[100:]) }, want: ErrVersion},
		"version zero":             {change: func(b []byte) { put32(b[labelVersion:], 0) }, seal: true, want: ErrVersion},
		"bit in GUID":              {change: func(b []byte) { b[labelDrive] ^= 1 }, want: ErrChecksum},
		"bit in last byte":         {change: func(b []byte) { b[blockSize-1] ^= 0x80 }, want: ErrChecksum},
		"bit in checksum":          {change: func(b []byte) { b[sumAt] ^= 1 }, want: ErrChecksum},
		"second half torn":         {change: func(b []byte) { copy(b[2048:], "old") }, want: ErrChecksum},
		"no drive":                 {change: func(b []byte) { clear(b[labelDrive:labelSize]) }, seal: true, want: ErrInvalid},
		"size zero":                {change: func(b []byte) { put64(b[labelSize:], 0) }, seal: true, want: ErrInvalid},
		"size beyond all":          {change: func(b []byte) { put64(b[labelSize:], 1<<63) }, seal: true, want: ErrInvalid},
		"time before 1970":         {change: func(b []byte) { put64(b[labelCreated:], 1<<63) }, seal: true, want: ErrInvalid},
		"time after 9999":          {change: func(b []byte) { put64(b[labelCreated:], lastSecond+1) }, seal: true, want: ErrInvalid},
		"host longer than room":    {change: func(b []byte) { b[labelHostLen] = 65 }, seal: true, want: ErrInvalid},
		"host length beyond block": {change: func(b []byte) { b[labelHostLen+1] = 0xff }, seal: true, want: ErrInvalid},
		"host with control bytes":  {change: func(b []byte) { b[labelHost] = 7 }, seal: true, want: ErrInvalid},
		"bytes after the host":     {change: func(b []byte) { b[labelWareLen-1] = 'x' }, seal: true, want: ErrInvalid},
		"hardware beyond its room": {change: func(b []byte) { b[labelWareLen], b[labelWareLen+1] = 1, 1 }, seal: true, want: ErrInvalid},
		"bytes after the hardware": {change: func(b []byte) { b[labelFeature-1] = 'x' }, seal: true, want: ErrInvalid},
		"hardware with a newline":  {change: func(b []byte) { b[labelWareLen], b[labelWare] = 1, 10 }, seal: true, want: ErrInvalid},
		"unknown feature":          {change: func(b []byte) { put32(b[labelFeature+8:], 1<<31) }, seal: true, want: ErrVersion},
		"reserved bytes":           {change: func(b []byte) { b[labelEnd] = 1 }, seal: true, want: ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := encodeLabel(testLabel(1))
			if err != nil {
				t.Fatal(err)
			}
			tt.change(b)
			if tt.seal {
				sealLabel(b)
			}
			if _, err := decodeLabel(b); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestTailStart(t *testing.T) {
	tests := map[string]struct{ drive, want size.Bytes }{
		"nothing":           {0, 0},
		"below one copy":    {4*size.MiB - 1, 0},
		"one copy":          {4 * size.MiB, 0},
		"smallest drive":    {MinDriveSize, 12 * size.MiB},
		"a sector more":     {MinDriveSize + size.Sector, 12 * size.MiB},
		"a sector short of": {17*size.MiB - size.Sector, 12 * size.MiB},
		"largest":           {MaxSize, MaxSize - 4*size.MiB},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := TailStart(tt.drive); got != tt.want {
				t.Errorf("TailStart(%d) = %d, want %d", tt.drive, got, tt.want)
			}
		})
	}
}
