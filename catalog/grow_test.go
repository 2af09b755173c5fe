package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

// TestReadShrunk reads drives on devices that are too small for their labels: they show what they have, and are not written.
func TestReadShrunk(t *testing.T) {
	for _, device := range []size.Bytes{testDriveSize - size.Sector, testDriveSize - size.MiB, testDriveSize / 2, MinDriveSize} {
		m, _ := history(t)
		m.badRead = func(off int64) bool { return off >= int64(device) }
		d, err := ReadDrive(m, device)
		if err != nil {
			t.Errorf("%s: %v", device, err)
			continue
		}
		if diff := cmp.Diff(testLUNs(3), d.Catalog.LUNs); diff != "" || !d.Shrunk() || d.Grown() != 0 {
			t.Errorf("%s: shrunk %t, grown by %s, records (-want +got):\n%s", device, d.Shrunk(), d.Grown(), diff)
		}
		if len(d.Problems) != 1 || !errors.Is(d.Problems[0], ErrTooSmall) {
			t.Errorf("%s: problems %v, want only %v", device, d.Problems, ErrTooSmall)
		}
		m.calls = 0
		for what, err := range map[string]error{
			"write": d.Write(m, nil), "relabel": d.Relabel(m, of(otherHost)), "grow": d.Grow(m),
		} {
			if err == nil || m.calls > 0 {
				t.Errorf("%s: %s: %v, with %d effects on the device", device, what, err, m.calls)
			}
		}
		s := Merge([]Drive{d})
		if free := s.Free(driveID(1)); len(free) > 0 || len(s.LUNs) == 0 || len(s.Heal()) > 0 {
			t.Errorf("%s: free %v, LUNs %d, to heal %v", device, free, len(s.LUNs), s.Heal())
		}
	}
}

func TestHas(t *testing.T) {
	d := drive(1)
	d.Device = 40 * size.MiB
	tests := map[string]struct {
		plex Plex
		want bool
	}{
		"inside":        {testPlex(1, 1, 4, 8), true},
		"up to the end": {testPlex(1, 1, 31, 8), true},
		"beyond it":     {testPlex(1, 1, 32, 8), false},
		"elsewhere":     {testPlex(1, 2, 50, 8), true},
	}
	for name, tt := range tests {
		if got := d.Has(testLUN(1, 1, tt.plex)); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestFindFormerEnd loses the label at the start of a device that has grown: its copy is where the drive ended.
func TestFindFormerEnd(t *testing.T) {
	tests := map[string]struct {
		lose  []int64
		found bool
	}{
		"label":               {[]int64{atHeadLabel}, true},
		"label and slot a":    {[]int64{atHeadLabel, atHeadA}, true},
		"label and slot b":    {[]int64{atHeadLabel, atHeadB}, true},
		"all of the start":    {[]int64{atHeadLabel, atHeadA, atHeadB}, false},
		"both labels":         {[]int64{atHeadLabel, atTailLabel}, false},
		"label and last slot": {[]int64{atHeadLabel, atTailA, atTailB}, true},
	}
	for name, tt := range tests {
		for _, more := range []size.Bytes{size.MiB, size.GiB + size.Sector} {
			t.Run(fmt.Sprint(name, more), func(t *testing.T) {
				m, _ := history(t)
				for _, at := range tt.lose {
					delete(m.blocks, at)
				}
				d, err := ReadDrive(m, testDriveSize+more)
				switch {
				case !tt.found:
					if !errors.Is(err, ErrNoLabel) {
						t.Errorf("error %v, want %v", err, ErrNoLabel)
					}
				case err != nil:
					t.Error(err)
				case !d.HeadLost || len(d.Catalog.LUNs) < 2 || d.Label.Size != testDriveSize:
					t.Errorf("head lost %t, %d records, size %s", d.HeadLost, len(d.Catalog.LUNs), d.Label.Size)
				}
			})
		}
	}
}

// TestFormerEndOfAnother does not take the label of another drive that is where this one ended.
func TestFormerEndOfAnother(t *testing.T) {
	m, _ := history(t)
	delete(m.blocks, atHeadLabel)
	block, err := encodeLabel(testLabel(2))
	if err != nil {
		t.Fatal(err)
	}
	m.store(atTailLabel, block)
	if d, err := ReadDrive(m, testDriveSize+size.MiB); !errors.Is(err, ErrNoLabel) {
		t.Errorf("%v, %v; want %v", d.Label, err, ErrNoLabel)
	}
}

// growths is by how much devices grow in tests: the new copy overlaps the old one, adjoins it, or lies apart.
var growths = []size.Bytes{size.MiB, 2 * size.MiB, 3*size.MiB + size.Sector, 4 * size.MiB, 100 * size.MiB}

// grown is a drive with three records whose device has grown.
func grown(t *testing.T, more size.Bytes) (*media, Drive) {
	t.Helper()
	m, _ := history(t)
	d, err := ReadDrive(m, testDriveSize+more)
	if err != nil {
		t.Fatal(err)
	}
	m.effects, m.calls = nil, 0
	return m, d
}

func TestGrow(t *testing.T) {
	for _, more := range growths {
		t.Run(more.String(), func(t *testing.T) {
			m, d := grown(t, more)
			if d.Grown() != more.RoundDown(size.MiB) {
				t.Errorf("grown by %s", d.Grown())
			}
			if err := d.Grow(m); err != nil {
				t.Fatal(err)
			}
			got, err := ReadDrive(m, testDriveSize+more)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, got, cmp.AllowUnexported(Drive{})); diff != "" {
				t.Errorf("drive as kept (-) and as read (+):\n%s", diff)
			}
			checkGrown(t, "once grown", got, testDriveSize+more)
			if _, stale := m.blocks[atTailLabel]; stale {
				t.Error("there is a label at the old end")
			}
			free := Merge([]Drive{got}).Free(driveID(1))
			if end := free[len(free)-1].End().Bytes(); end != TailStart(testDriveSize+more) {
				t.Errorf("room up to %s", end)
			}
			if err := got.Grow(m); !errors.Is(err, ErrInvalid) {
				t.Errorf("grow again: %v, want %v", err, ErrInvalid)
			}
		})
	}
}

// checkGrown expects a whole drive of a size.
func checkGrown(t *testing.T, at string, d Drive, want size.Bytes) {
	t.Helper()
	if d.Label.Size != want || len(d.Problems) > 0 || d.HeadLost || len(d.Catalog.LUNs) != 3 {
		t.Errorf("%s: size %s, want %s; problems %v, %d records", at, d.Label.Size, want, d.Problems, len(d.Catalog.LUNs))
	}
}

// TestGrowCut cuts the power after every effect of Grow. The drive has its old size or its new one, all records are there, and
// they can be written. Once more, and it is grown. At every point the start of the drive may be lost besides: its copy at the
// new end is whole once the label has the new size.
func TestGrowCut(t *testing.T) {
	for _, more := range growths {
		t.Run(more.String(), func(t *testing.T) {
			start, d := grown(t, more)
			m, device := start.clone(), testDriveSize+more
			if err := d.Grow(m); err != nil {
				t.Fatal(err)
			}
			forEachCut(start, m.effects, func(at string, cut *media) {
				got, err := ReadDrive(cut, device)
				if err != nil || got.HeadLost || len(got.Catalog.LUNs) != 3 {
					t.Fatalf("%s: %v, head lost %t, %d records", at, err, got.HeadLost, len(got.Catalog.LUNs))
				}
				if got.Label.Size != testDriveSize && got.Label.Size != device {
					t.Errorf("%s: size %s", at, got.Label.Size)
				}
				checkStartLost(t, at, cut, got)
				if err := got.Write(cut, got.Catalog.LUNs); err != nil {
					t.Errorf("%s: write: %v", at, err)
				}
				if err := got.Grow(cut); err != nil && got.Label.Size != device {
					t.Errorf("%s: again: %v", at, err)
				}
				again, err := ReadDrive(cut, device)
				if err != nil {
					t.Fatalf("%s: again: %v", at, err)
				}
				checkGrown(t, at+", again", again, device)
			})
		})
	}
}

// checkStartLost loses the start of a drive that has grown.
func checkStartLost(t *testing.T, at string, m *media, d Drive) {
	t.Helper()
	if d.Label.Size == testDriveSize {
		return
	}
	lost := m.clone()
	clearBelow(lost, int64(FirstExtent))
	got, err := ReadDrive(lost, d.Device)
	if err != nil || len(got.Catalog.LUNs) != 3 {
		t.Errorf("%s: the start is lost: %v, %d records", at, err, len(got.Catalog.LUNs))
	}
}

// TestGrowTorn spoils the label that a power cut hits: its copy at the new end has everything, and Grow repairs the drive.
func TestGrowTorn(t *testing.T) {
	start, d := grown(t, 8*size.MiB)
	m := start.clone()
	if err := d.Grow(m); err != nil {
		t.Fatal(err)
	}
	torn := m.clone()
	torn.store(atHeadLabel, bytes.Repeat([]byte("PLEXLABL\x01\x00\x00\x00????"), blockSize/16))
	got, err := ReadDrive(torn, d.Device)
	if err != nil || !got.HeadLost || len(got.Catalog.LUNs) != 3 {
		t.Fatalf("%v, head lost %t", err, got.HeadLost)
	}
	if err := got.Grow(torn); err != nil {
		t.Fatal(err)
	}
	again, err := ReadDrive(torn, d.Device)
	if err != nil {
		t.Fatal(err)
	}
	checkGrown(t, "repaired", again, d.Device)
}

func TestGrowRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*Drive)
		want   error
	}{
		"head lost":       {func(d *Drive) { d.HeadLost = true }, ErrHeadLost},
		"newer format":    {func(d *Drive) { d.Label.Features.ReadOnly = 1 }, ErrReadOnlyFormat},
		"nothing to gain": {func(d *Drive) { d.Device = testDriveSize + size.Sector }, ErrInvalid},
	}
	for name, tt := range tests {
		m, d := grown(t, 8*size.MiB)
		tt.change(&d)
		if err := d.Grow(m); !errors.Is(err, tt.want) || m.calls > 0 {
			t.Errorf("%s: error %v, want %v; %d effects on the device", name, err, tt.want, m.calls)
		}
	}
}

// TestGrowFails has every effect fail, done or not: after another try the drive is whole.
func TestGrowFails(t *testing.T) {
	probe, d := grown(t, 2*size.MiB)
	if err := d.Grow(probe); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= probe.calls; at++ {
		for _, sloppy := range []bool{false, true} {
			m, d := grown(t, 2*size.MiB)
			m.fail, m.sloppy = failAt(at), sloppy
			if err := d.Grow(m); !errors.Is(err, errMedia) {
				t.Fatalf("effect %d: error %v", at, err)
			}
			m.fail = nil
			got, err := ReadDrive(m, d.Device)
			if err != nil || !slices.EqualFunc(got.Catalog.LUNs, testLUNs(3), sameVersion) {
				t.Fatalf("effect %d: %v, %d records", at, err, len(got.Catalog.LUNs))
			}
			if got.Grown() > 0 {
				if err := got.Grow(m); err != nil {
					t.Errorf("effect %d: again: %v", at, err)
				}
			} else if err := got.Write(m, got.Catalog.LUNs); err != nil {
				t.Errorf("effect %d: write: %v", at, err)
			}
			again, err := ReadDrive(m, d.Device)
			if err != nil {
				t.Fatal(err)
			}
			checkGrown(t, fmt.Sprintf("effect %d, again", at), again, d.Device)
		}
	}
}
