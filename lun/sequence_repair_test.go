package lun_test

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// repairDrive zeroes the label of a drive, or its copy, or the end with it, and has it written anew. If that is cut off, it is done
// again: a lost label is in the way of most changes.
func (r *rig) repairDrive(p *process, s seqStep) *call {
	drive := seqPath(s.C % seqDrives)
	if r.absent[drive] {
		return nil
	}
	m := r.media(drive)
	d, err := catalog.ReadDrive(m, m.Info().Size)
	if err != nil || d.LabelLost() {
		return nil
	}
	at, length := size.Bytes(0), []size.Bytes{8 * size.KiB, size.MiB, 4 * size.MiB}[s.B%3]
	if s.A%2 == 0 {
		at = catalog.TailStart(d.Label.Size)
	}
	if !r.survives(drive, d, at, length) {
		return nil
	}
	_, err = m.WriteAt(make([]byte, length), int64(at))
	if syncErr := m.Sync(); err != nil || syncErr != nil {
		return nil // the disk is broken
	}
	return &call{
		text: fmt.Sprintf("repair %s, with %s zeroed at %s", drive, length, at), must: r.quiet && !r.foreign(),
		do:    func(ctx context.Context) error { return p.provider.RepairDrive(ctx, drive) },
		codes: []vds.Code{vds.ErrObjectNotFound, vds.ErrAccessDenied},
		then:  func() { r.repairAgain(drive) },
	}
}

// survives reports whether what a drive says can still be read once some of it is zeroed. A copy that was not written to the end says
// less, and one that lies in front of the end of a larger device is not found.
func (r *rig) survives(drive string, d catalog.Drive, at, length size.Bytes) bool {
	mem := r.mem.Cut(blocktest.Kept)
	info, err := mem.Stat(context.Background(), drive)
	if err != nil {
		return false
	}
	m, err := mem.Medium(info.Dev)
	if err != nil {
		return false
	}
	if _, err := m.WriteAt(make([]byte, length), int64(at)); err != nil {
		return false
	}
	left, err := catalog.ReadDrive(m, info.Size)
	return err == nil && left.Catalog.Sequence == d.Catalog.Sequence
}

// repairAgain repairs a drive whose label is still lost, once it is there and works.
func (r *rig) repairAgain(drive string) {
	if r.absent[drive] {
		r.mem.Return(drive)
		delete(r.absent, drive)
	}
	if r.sick[drive] {
		r.mem.Heal(drive)
		r.mem.Change(drive, readOnly(false))
		delete(r.sick, drive)
	}
	m := r.media(drive)
	d, err := catalog.ReadDrive(m, m.Info().Size)
	if err == nil {
		err = d.Repair(m, false)
	}
	if err != nil {
		r.fail("repair %s again: %v", drive, err)
	}
}
