package lun_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// rollBack puts every plex of a mirror back to an earlier moment, each to another one. None can be shown to be the newest: the mirror is
// not started, until one of them is kept. Then it holds what that one held.
func (r *rig) rollBack(p *process, s seqStep) *call {
	l, found := r.someMirror(s.A)
	s.B |= 1 // a stop, which begins a run
	if !found || len(r.photos) == 0 || !r.calm() || !r.down(&p, s) {
		return nil
	}
	l = r.records[l.ID]
	var images []*image
	told := false // images without any metadata are like a mirror whose metadata an interrupted change has invalidated
	for n, plex := range l.Copies() {
		i := &image{rig: r, photo: r.photos[(s.C+n)%len(r.photos)], drive: r.paths[plex.Meta.Drive]}
		then := slotOn(i.on(i.photo.mem), plex)
		if told = told || then.Super != (raidmeta.Super{}); then.Bitmap.Run == slotOn(i.on(r.mem), plex).Bitmap.Run {
			return nil // nothing would tell
		}
		images = append(images, i)
	}
	if !told {
		return nil
	}
	for _, i := range images {
		i.putPlex(l)
	}
	r.tally.images++
	r.note("all plexes of %s are back as they once were", l.Name)
	r.refreshAll()
	results, err := p.provider.Assemble(context.Background(), lun.AssembleOptions{LUNs: []string{l.ID.String()}})
	if name, _ := r.device(l.ID); name != "" || err == nil && resultErrors(results) == nil {
		r.fail("assemble earlier copies of %s: %v, %v; device %q", l.Name, err, resultErrors(results), name)
	}
	chosen := l.Copies()[s.B%len(l.Copies())]
	held := r.contentOf(l, chosen)
	keep := func(ctx context.Context, p *process) error {
		found, err := p.provider.LUN(l.ID.String())
		if err != nil {
			return err
		}
		return found.Keep(ctx, chosen.ID)
	}
	return &call{
		text: fmt.Sprintf("keep %s of %s", chosen.ID, l.Name), must: true,
		do: func(ctx context.Context) error { return keep(ctx, p) },
		then: func() {
			r.mend()
			if err := keep(context.Background(), r.procs[p.number]); err != nil && !errors.Is(err, vds.ErrInvalidOperation) {
				r.fail("keep %s of %s: %v", chosen.ID, l.Name, err)
			}
			r.volumes[l.ID] = held
			r.refreshAll()
		},
	}
}

// mend ends the faults of all drives, brings those back that are away, and lets both processes look.
func (r *rig) mend() {
	r.heal(seqStep{})
	for len(r.absent) > 0 {
		r.returns(seqStep{})
	}
	r.refreshAll()
}

// contentOf is a volume that holds what a plex of l holds now in the blocks that users have written.
func (r *rig) contentOf(l catalog.LUN, p catalog.Plex) *volume {
	v, b := newVolume(), make([]byte, block)
	for at := range r.volumes[l.ID].cells {
		if (at+1)*block > int64(l.Size.Bytes()) {
			continue
		}
		r.read(p, size.Bytes(at*block), b)
		stamp := stampOf(b)
		v.cells[at] = &cell{maybe: []uint64{stamp}, ever: []uint64{0, stamp}}
		if stamp == torn {
			v.cells[at].maybe = []uint64{0}
		}
	}
	return v
}
