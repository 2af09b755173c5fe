package lun_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// slowDevices are drives that take longer to be found than a look at an operation waits for the lock.
type slowDevices struct{ *blocktest.Mem }

func (s slowDevices) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	select {
	case <-time.After(300 * time.Millisecond):
		return s.Mem.Scan(ctx, but...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A process that waits for an operation records its end, even when reading all drives takes long.
func TestTheEndIsRecordedOnAMachineWithManyDrives(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.p.Close()
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: slowDevices{w.mem}, LockPath: w.lock})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 20 {
		if err := w.kernel.Tick(1000); err != nil {
			t.Fatal(err)
		}
	}
	again, err := p.Operation(op.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := again.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	w.open()
	if record := w.record("web1"); record.Operation != nil || record.Last == nil || record.Last.ID != op.ID {
		t.Errorf("after the end: operation %+v, last %+v", record.Operation, record.Last)
	}
}

// If the kernel cannot read the source, it ends the copy and shows the target as one that is about to be filled. Once the
// sector can be read, the plex is recovered and gets everything.
func TestRecoverAfterAnUnreadableSector(t *testing.T) {
	w, target, source := pair(t)
	middle := w.record("web1").Plexes[0].Data[0].Start.Bytes() + lunSize/2
	w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read", Offset: middle, Length: 4 * size.KiB})
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := w.kernel.Tick(1000); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := op.Wait(ctx); !errors.Is(err, vds.ErrIO) {
		t.Fatalf("wait: %v, want VDS_E_IO_ERROR", err)
	}
	w.write(300)
	w.mem.Heal(w.path(0))
	if op, err = target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.verify()
	if err := op.Wait(ctx); err != nil {
		t.Errorf("wait for the recovery: %v", err)
	}
}
