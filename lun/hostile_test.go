package lun_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// hostileBodies is catalogs that try to take memory or time, or to write to a terminal.
func hostileBodies() map[string]string {
	const most = 2016*1024 - 64
	fill := func(before, one, after string) string {
		return before + strings.Repeat(one+",", (most-len(before)-len(after)-len(one))/(len(one)+1)) + one + after
	}
	pad := strings.Repeat(" ", 16) // so that there are not too many values for the bytes
	return map[string]string{
		"empty records":          fill(`{"luns":[`, `{}`, `]}`),
		"padded records":         fill(`{"luns":[`, `{}`+pad, `]}`),
		"plexes":                 fill(`{"luns":[{"plexes":[`, `{}`+pad, `]}]}`),
		"extents":                fill(`{"luns":[{"plexes":[{"data":[`, `{}`+pad, `]}]}]}`),
		"tombstones":             fill(`{"luns":[{"absorbed":[`, `{}`+pad, `]}]}`),
		"plexes of a source":     fill(`{"luns":[{"operation":{"source":{"plexes":[`, `{}`+pad, `]}}}]}`),
		"nested sources":         `{"luns":[` + strings.Repeat(`{"operation":{"source":`, 40000) + `{}` + strings.Repeat(`}}`, 40000) + `]}`,
		"nested lists":           `{"luns":` + strings.Repeat(`[`, 1000000),
		"name of escapes":        `{"luns":[{"name":"` + strings.Repeat(`\u001b[2J`, 200000) + `"}]}`,
		"short name of escapes":  `{"luns":[{"id":"01000000-0000-0000-0000-000000000001","name":"\u001b]0;owned\u0007\u001b[2J"}]}`,
		"long unknown field":     `{"luns":[{"` + strings.Repeat("x", 2000000) + `":1}]}`,
		"unknown field, escapes": `{"luns":[{"\u001b[2J":1}]}`,
	}
}

// putBody makes text the newest catalog of a drive.
func putBody(t *testing.T, m *blocktest.Medium, drive uuid.UUID, text string) {
	t.Helper()
	const frame = 64
	b := make([]byte, (frame+len(text)+4095)/4096*4096)
	copy(b, "PLEXSLOT")
	binary.LittleEndian.PutUint32(b[8:], 1)
	copy(b[16:], drive[:])
	binary.LittleEndian.PutUint64(b[32:], 1000)
	binary.LittleEndian.PutUint32(b[40:], uint32(len(text)))
	binary.LittleEndian.PutUint64(b[56:], uint64(driveSize))
	copy(b[frame:], text)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:frame+len(text)], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := m.WriteAt(b, int64(64*size.KiB)); err != nil {
		t.Fatal(err)
	}
}

// A drive that takes all the memory and time that it can costs little of either, and nothing is written. What it says of itself is
// short.
func TestHostileDrive(t *testing.T) {
	const partitions = 16
	for name, body := range hostileBodies() {
		t.Run(name, func(t *testing.T) {
			mem := blocktest.New()
			for i := range partitions {
				id := uuid.New()
				putBody(t, hostileDrive(t, mem, i, id), id, body)
			}
			problems := looksAt(t, mem, 48*size.MiB)
			if len(problems) != partitions {
				t.Errorf("%d problems, want %d", len(problems), partitions)
			}
		})
	}
}

// Thousands of LUNs that contradict each other are problems that are counted, and not told one by one.
func TestHostileProblems(t *testing.T) {
	for partitions, most := range map[int]size.Bytes{1: 16 * size.MiB, 8: 64 * size.MiB} {
		const each = 3000
		mem := blocktest.New()
		ghost := uuid.New()
		for i := range partitions {
			m := hostileDrive(t, mem, i, uuid.New())
			var luns []catalog.LUN
			for n := range each {
				l := catalog.LUN{ID: uuid.New(), Name: fmt.Sprintf("n%d-%d", i, n), Size: size.MiB.Sectors(), Generation: 1}
				l.Plexes = []catalog.Plex{plexAt(ghost, 4, l.Size)}
				l.Plexes[0].ID = uuid.New()
				luns = append(luns, l)
			}
			d, err := catalog.ReadDrive(m, driveSize)
			if err == nil {
				err = d.Write(m, luns)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		problems := looksAt(t, mem, most)
		text := fmt.Sprint(problems)
		if more := fmt.Sprintf("and %d more", partitions*each-1-16); len(problems) != 17 || !strings.Contains(text, more) {
			t.Errorf("%d partitions: %d problems, want 17 with %q: %.2000s", partitions, len(problems), more, text)
		}
	}
}

// hostileDrive adds a drive of this host, without LUNs.
func hostileDrive(t *testing.T, mem *blocktest.Mem, n int, id uuid.UUID) *blocktest.Medium {
	t.Helper()
	path := fmt.Sprintf("/dev/sd%c", 'a'+n)
	mem.AddDisk(blockdev.Info{Path: path, Size: driveSize})
	info, err := mem.Stat(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mem.Medium(info.Dev)
	if err == nil {
		err = catalog.Init(m, catalog.Label{Drive: id, Size: driveSize, Host: "own"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// heapInUse measures the memory in use until the function is called, which returns how much more it was than now. Garbage is collected
// early, so little of that is garbage.
func heapInUse() func() size.Bytes {
	percent := debug.SetGCPercent(5)
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	now := func() size.Bytes {
		metrics.Read(sample)
		return size.Bytes(sample[0].Value.Uint64())
	}
	begin, stop, peak := now(), make(chan struct{}), make(chan size.Bytes)
	go func() {
		most := now()
		for {
			select {
			case <-stop:
				peak <- max(most, now()) - begin
				return
			case <-time.After(200 * time.Microsecond):
				most = max(most, now())
			}
		}
	}()
	return func() size.Bytes {
		close(stop)
		defer debug.SetGCPercent(percent)
		return <-peak
	}
}

// looksAt is the problems that plexctl finds on a machine. It may use so much memory, and writes nothing.
func looksAt(t *testing.T, mem *blocktest.Mem, most size.Bytes) []error {
	t.Helper()
	mem.OnEffect = func(e blocktest.Effect) error {
		t.Errorf("%+v", e)
		return nil
	}
	peak := heapInUse()
	start := time.Now()
	p, err := lun.Open(t.Context(), lun.Options{
		Kernel: dmtest.New(mem, dmtest.Linux6_12), Devices: mem, LockPath: filepath.Join(t.TempDir(), "lock"), Hosts: []string{"own"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	problems := p.Problems()
	took := time.Since(start)
	got := peak()
	t.Logf("%s in use in %s, %d problems", got, took, len(problems))
	if got > most {
		t.Errorf("%s in use at once, want at most %s", got, most)
	}
	const longest = 800
	for _, e := range problems {
		if len(e.Error()) > longest {
			t.Errorf("a problem of %d bytes: %.200s", len(e.Error()), e)
		}
	}
	return problems
}
