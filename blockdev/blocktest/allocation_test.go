package blocktest

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/size"
)

// thinMem is a Mem with a drive of n blocks that tells what is allocated.
func thinMem(n int) *Mem {
	m := New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.Bytes(n) * blockdev.Align})
	m.SetAllocation(testDisk, true)
	m.SetOffload(testDisk, true)
	return m
}

func allocationOf(t testing.TB, m *Mem) allocation.Map {
	t.Helper()
	a, err := m.Allocation(context.Background(), testDisk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() }) // a test may have closed it
	return a
}

// inBlocks is ranges in blocks of Align.
func inBlocks(pairs ...size.Bytes) []allocation.Range {
	var ranges []allocation.Range
	for i := 0; i < len(pairs); i += 2 {
		ranges = append(ranges, allocation.Range{Start: pairs[i] * blockdev.Align, Length: pairs[i+1] * blockdev.Align})
	}
	return ranges
}

func TestMemAllocationUnknown(t *testing.T) {
	m, _ := oneDisk()
	m.Stack(blockdev.Info{Path: "/dev/dm-0", Dev: testHolder}, func(blockdev.Mode) (blockdev.Disk, error) { return nil, unix.EIO })
	for path, want := range map[string]error{testDisk: allocation.ErrUnknown, "/dev/dm-0": allocation.ErrUnknown, "/dev/sdz": blockdev.ErrNotExist} {
		if a, err := m.Allocation(t.Context(), path); a != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	thin := thinMem(8)
	for name, after := range map[string]*Mem{"cut": thin.Cut(Lost), "fork": thin.Fork()} {
		if _, err := after.Allocation(t.Context(), testDisk); err != nil {
			t.Errorf("after a %s: %v", name, err)
		}
	}
}

func TestMemAllocationFails(t *testing.T) {
	ended, stop := context.WithCancel(context.Background())
	stop()
	tests := map[string]struct {
		ctx     context.Context //nolint:containedctx // the test's argument
		trouble func(m *Mem, a allocation.Map)
		want    error
	}{
		"fault":   {t.Context(), func(m *Mem, _ allocation.Map) { m.Fail(testDisk, Fault{Kind: "allocation"}) }, unix.EIO},
		"gone":    {t.Context(), func(m *Mem, _ allocation.Map) { m.Vanish(testDisk) }, unix.EIO},
		"restart": {t.Context(), func(m *Mem, _ allocation.Map) { m.Restart() }, ErrDead},
		"closed":  {t.Context(), func(_ *Mem, a allocation.Map) { _ = a.Close() }, os.ErrClosed},
		"ended":   {ended, func(*Mem, allocation.Map) {}, context.Canceled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := thinMem(64)
			a := allocationOf(t, m)
			tt.trouble(m, a)
			if got, err := a.Survey(tt.ctx, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, 9); got != nil || !errors.Is(err, tt.want) {
				t.Errorf("survey: %v, %v, want %v", got, err, tt.want)
			}
			if got, err := a.Confirm(tt.ctx, inBlocks(0, 64)); got != nil || !errors.Is(err, tt.want) {
				t.Errorf("confirm: %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}
