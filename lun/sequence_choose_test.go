package lun_test

import (
	"context"
	"slices"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
)

// choose plugs a copy of a drive in while nothing uses the drive, from now or from an earlier moment. Then one of the two is made the
// drive, and the other one goes.
func (r *rig) choose(p *process, s seqStep) *call {
	if len(r.photos) == 0 || !r.calm() {
		return nil
	}
	r.records = r.truth(blocktest.Kept)
	all := r.images(true)
	if s.Seed%2 == 0 {
		for _, i := range all {
			i.photo = photo{volumes: r.volumes}
		}
	}
	if len(all) == 0 || !r.down(&p, s) {
		return nil
	}
	at := slices.IndexFunc(all, func(i *image) bool {
		if i.photo.mem == nil {
			i.photo.mem = r.mem.Cut(blocktest.Kept)
		}
		return i.media(i.drive).Info().Size == driveSize && i.fits()
	})
	if at < 0 {
		return nil
	}
	i := all[at]
	paths := []string{i.drive, otherDisks[1]}
	copyDisk(r, i.on(i.photo.mem), r.bring(1))
	r.choosing = paths[s.At%2]
	r.refreshAll()
	if d, err := p.provider.DriveAt(context.Background(), i.drive); err == nil && d.State == lun.DriveAmbiguous && s.Seed%3 == 0 {
		results, err := p.provider.Assemble(context.Background(), lun.AssembleOptions{})
		r.note("assemble with a copy of %s: %v, %v", i.drive, err, resultErrors(results))
		if r.isUsed(i.drive) || r.isUsed(paths[1]) {
			r.fail("a LUN uses %s, or a copy of it", i.drive)
		}
	}
	chosen := r.choosing
	return &call{
		text: "choose " + chosen, must: true,
		do:   func(ctx context.Context) error { _, err := p.provider.Choose(ctx, chosen); return err },
		then: func() { i.choose(chosen) },
	}
}

// choose makes the device that was chosen the drive, and takes the other one away.
func (i *image) choose(chosen string) {
	i.mend()
	if _, err := i.procs[0].provider.Choose(context.Background(), chosen); err != nil {
		i.fail("choose %s: %v", chosen, err)
	}
	if chosen != i.drive {
		i.photo.mem = i.rig.mem.Cut(blocktest.Kept) // a photo of the copy, in the place of the drive
		copyDisk(i.rig, i.media(chosen), i.on(i.photo.mem))
	}
	i.choosing = ""
	withoutOthers(i.rig.mem)
	if chosen != i.drive {
		i.put()
	}
	i.refreshAll()
}

// copyDisk copies a whole disk.
func copyDisk(r *rig, from, to *blocktest.Medium) {
	b := make([]byte, driveSize)
	_, err := from.ReadAt(b, 0)
	if err == nil {
		_, err = to.WriteAt(b, 0)
	}
	if err == nil {
		err = to.Sync()
	}
	if err != nil {
		r.fail("copy a disk: %v", err)
	}
}
