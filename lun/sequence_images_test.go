package lun_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
)

// photo is all drives at one moment, and what was on the LUNs then.
type photo struct {
	mem     *blocktest.Mem
	volumes map[uuid.UUID]*volume
	cached  bool // with what a power cut may have taken back since
}

// photosKept is how many photos there are of a machine.
const photosKept = 6

// photograph keeps the drives as they are now, by turns with and without what they have not written back yet.
func (r *rig) photograph() {
	p := photo{cached: r.random.IntN(2) == 0, volumes: map[uuid.UUID]*volume{}}
	for id, v := range r.volumes {
		p.volumes[id] = v.clone()
		if !p.cached {
			p.volumes[id].cut()
		}
	}
	fate := blocktest.Kept
	if !p.cached {
		fate = blocktest.Lost
	}
	p.mem = r.mem.Cut(fate)
	if len(r.photos) < photosKept {
		r.photos = append(r.photos, p)
	} else {
		r.photos[r.random.IntN(photosKept)] = p
	}
}

// forgetCached forgets the photos of what a power cut may have taken back: it may never have been.
func (r *rig) forgetCached() {
	r.photos = slices.DeleteFunc(r.photos, func(p photo) bool { return p.cached })
}

// calm reports whether nothing is wrong with the machine, so that it is known what has to come of an older image.
func (r *rig) calm() bool {
	return !r.trouble() && !r.plugged && r.cloned == "" && !r.cutOff && !r.unsure && !r.foreign() && len(r.contradictions()) == 0
}

// contradictions is what is wrong with what the drives say.
func (r *rig) contradictions() []error {
	p := r.reader(r.mem.Cut(blocktest.Kept), r.hostID())
	defer p.Close()
	return p.Problems()
}

// restore puts a drive, or the plex of a mirror on it, back to an earlier moment, while the machine is off or while the drive is
// pulled. Then everything starts again, or the mirror is recovered.
func (r *rig) restore(p *process, s seqStep) *call {
	if len(r.photos) == 0 || !r.calm() {
		return nil
	}
	r.records = r.truth(blocktest.Kept)
	// What the image of a whole drive says is the truth while the drives that know better cannot be read.
	whole := s.B%4 < 2 && s.Trouble != troubleErrno && s.Trouble != troubleShort
	all := r.images(whole)
	if len(all) == 0 {
		return nil
	}
	if s.B%3 == 0 {
		return r.replug(p, all)
	}
	if !r.down(&p, s) {
		return nil
	}
	at := slices.IndexFunc(all, (*image).fits)
	if at < 0 {
		return nil
	}
	all[at].put()
	return r.assembling(p, "assemble with an older image", lun.AssembleOptions{}, true)
}

// imagesTried is how many images are looked at to find one of which it is known what has to come of it.
const imagesTried = 8

// images is some images of drives, or of plexes on them, in a random order.
func (r *rig) images(whole bool) []*image {
	var all []*image
	for _, from := range r.photos {
		for _, drive := range r.ownAll() {
			if i := r.image(from, drive, whole); i != nil {
				all = append(all, i)
			}
		}
	}
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), imagesTried)]
}

// down takes the whole machine down, in one of two ways, and reports whether it has. p may be another process then.
func (r *rig) down(p **process, s seqStep) bool {
	if s.B%2 == 0 {
		r.note("the power fails")
		r.powerCut(s)
		*p = r.procs[(*p).number]
		return true
	}
	results, err := (*p).provider.Deactivate(context.Background())
	r.note("deactivate: %v, %v", err, resultErrors(results))
	r.records = r.truth(blocktest.Kept)
	return err == nil && resultErrors(results) == nil
}

// image is a drive, or the plex of one mirror on it, at an earlier moment.
type image struct {
	*rig
	photo
	drive   string
	whole   bool        // the drive, not only a plex
	mirrors []uuid.UUID // that have a plex there
	singles []uuid.UUID // LUNs that are there alone
}

// image is what a photo has of a drive. It is nil if nothing would tell that from the drive: then a LUN that is there alone is
// another one, or no other plex of a mirror holds its data.
func (r *rig) image(from photo, drive string, whole bool) *image {
	i := &image{rig: r, photo: from, drive: drive, whole: whole}
	for _, id := range slices.SortedFunc(maps.Keys(r.records), compareUUIDs) {
		switch l := r.records[id]; {
		case !slices.Contains(r.pathsOf(l), drive):
		case len(l.Copies()) > 1:
			if !r.isBeside(l, drive) {
				return nil
			}
			i.mirrors = append(i.mirrors, id)
		default:
			i.singles = append(i.singles, id)
		}
	}
	if len(i.mirrors) == 0 {
		return nil
	}
	if !i.whole {
		i.mirrors, i.singles = i.mirrors[r.random.IntN(len(i.mirrors)):][:1], nil
	}
	return i
}

// pathsOf is the paths of all drives of a LUN.
func (r *rig) pathsOf(l catalog.LUN) []string {
	var paths []string
	for _, id := range l.Drives() {
		paths = append(paths, r.paths[id])
	}
	return paths
}

// plexOn is the plex of a LUN on a drive; -1 when there is none.
func (r *rig) plexOn(l catalog.LUN, drive string) int {
	return slices.IndexFunc(l.Copies(), func(p catalog.Plex) bool { return r.paths[p.Meta.Drive] == drive })
}

// isBeside reports whether a plex of l on another drive holds all of the data, by the word of the kernel.
func (r *rig) isBeside(l catalog.LUN, drive string) bool {
	raid, ok := r.legs(l)
	return ok && slices.ContainsFunc(l.Copies(), func(p catalog.Plex) bool {
		filled := l.Operation != nil && slices.Contains(l.Operation.Plexes, p.ID)
		return r.paths[p.Meta.Drive] != drive && !p.Stale && !filled && raid.Health[record.Index(l, p.ID)] == dm.LegInSync
	})
}

// legs is the state of a mirror that runs by its record.
func (r *rig) legs(l catalog.LUN) (dm.RaidStatus, bool) {
	name, _ := r.device(l.ID)
	status, err := r.kernel.Status(context.Background(), name)
	if err != nil || len(status.Targets) != 1 {
		return dm.RaidStatus{}, false
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	return raid, err == nil && len(raid.Health) == len(l.Plexes)
}

// fits reports whether it is known what has to come of the image, now that nothing uses the drive.
func (i *image) fits() bool {
	old, errOld := catalog.ReadDrive(i.on(i.photo.mem), i.on(i.photo.mem).Info().Size)
	now, errNow := catalog.ReadDrive(i.media(i.drive), i.media(i.drive).Info().Size)
	if errOld != nil || errNow != nil || i.whole && (old.Label.Size != now.Label.Size || len(old.Problems) > 0) {
		return false // a plex may lie beyond the end that the drive had; a label that was cut off is only reported
	}
	then := i.recordsOn(i.photo.mem.Cut(blocktest.Kept), i.ownAll())
	without := i.recordsOn(i.gone(i.drive), nil)
	for _, id := range i.singles {
		l, was := i.records[id], then[id]
		_, elsewhere := without[id]
		if elsewhere || len(l.Drives()) != 1 || i.members(then)[l.Name] != i.members(i.records)[l.Name] || was.Scan != l.Scan ||
			i.rig.volumes[id].twin != uuid.Nil || i.photo.volumes[id] == nil || i.photo.volumes[id].twin != uuid.Nil {
			return false
		}
	}
	for _, id := range i.mirrors {
		if l := i.records[id]; l.Generation != without[id].Generation || !i.tells(l, true) {
			return false
		}
	}
	return !i.whole || !slices.ContainsFunc(old.Catalog.LUNs, func(l catalog.LUN) bool { return !l.Deleted && i.records[l.ID].ID == uuid.Nil })
}

// ownAll is the paths of all drives of the sequence.
func (r *rig) ownAll() []string {
	var paths []string
	for drive := range seqDrives {
		paths = append(paths, seqPath(drive))
	}
	return paths
}

// gone is the machine without a drive.
func (r *rig) gone(drive string) *blocktest.Mem {
	mem := r.mem.Cut(blocktest.Kept)
	mem.Vanish(drive)
	return mem
}

// recordsOf is the records on the drive at some moment.
func (i *image) recordsOf(mem *blocktest.Mem) []catalog.LUN {
	info, err := mem.Stat(context.Background(), i.drive)
	if err != nil {
		return nil
	}
	m, err := mem.Medium(info.Dev)
	if err != nil {
		return nil
	}
	d, err := catalog.ReadDrive(m, info.Size)
	if err != nil {
		return nil
	}
	return d.Catalog.LUNs
}

// tells reports whether the plex of l in the image can be told from the plex as it is, or is equal to it. No counter tells an image
// of the present run, unless its event count lags.
func (i *image) tells(l catalog.LUN, lags bool) bool {
	p := l.Plexes[i.plexOn(l, i.drive)]
	old, now := i.on(i.photo.mem), i.on(i.rig.mem)
	then, is := slotOn(old, p), slotOn(now, p)
	if then.Bitmap.Run.Number != is.Bitmap.Run.Number || then.Bitmap.Run.Nonce != is.Bitmap.Run.Nonce {
		return true
	}
	if lags && !p.Stale && then.Super.Events+2 < is.Super.Events {
		return true
	}
	return !slices.ContainsFunc(p.Data, func(e catalog.Extent) bool {
		return !old.Same(int64(e.Start.Bytes()), now, int64(e.Start.Bytes()), int64(e.Length.Bytes()))
	})
}

// on is the drive at some moment.
func (i *image) on(mem *blocktest.Mem) *blocktest.Medium {
	mem.Return(i.drive)
	info, err := mem.Stat(context.Background(), i.drive)
	if err != nil {
		i.fail("stat: %v", err)
	}
	m, err := mem.Medium(info.Dev)
	if err != nil {
		i.fail("medium: %v", err)
	}
	return m
}

// slotOn is the current metadata of a plex on a drive.
func slotOn(m *blocktest.Medium, p catalog.Plex) raidmeta.Slot {
	b := make([]byte, 12*size.KiB)
	if _, err := m.ReadAt(b, int64(record.CurrentSlot(p).Start.Bytes())); err != nil {
		return raidmeta.Slot{}
	}
	slot, _ := raidmeta.DecodeSlot(b) // what can be decoded of it
	return slot
}

// put puts the drive, or the plex, back to the image. The catalogs of other drives have the newest records: no LUN changes.
func (i *image) put() {
	i.note("%s is back as it once was, whole %v", i.drive, i.whole)
	i.tally.images++
	before := i.records
	if i.whole {
		i.rig.mem.Restore(i.drive, i.photo.mem)
	} else {
		i.putPlex(before[i.mirrors[0]])
	}
	for _, id := range i.singles {
		i.rig.volumes[id] = i.photo.volumes[id].clone()
	}
	i.records = i.truth(blocktest.Kept)
	if !i.members(i.records).is(i.members(before)) {
		i.fail("LUNs were\n%s\nand are\n%s", i.members(before), i.members(i.records))
	}
	for _, id := range i.mirrors {
		if i.records[id].Generation != before[id].Generation {
			i.fail("%s was of generation %d, and is of %d", before[id].Name, before[id].Generation, i.records[id].Generation)
		}
	}
	if problems := i.contradictions(); len(problems) > 0 {
		i.fail("problems: %v", problems)
	}
	i.refreshAll()
}

// putPlex puts the extents of a plex back.
func (i *image) putPlex(l catalog.LUN) {
	p := l.Plexes[i.plexOn(l, i.drive)]
	old, now := i.on(i.photo.mem), i.media(i.drive)
	for _, e := range append(slices.Clone(p.Data), p.Meta) {
		b := make([]byte, e.Length.Bytes())
		_, err := old.ReadAt(b, int64(e.Start.Bytes()))
		if err == nil {
			_, err = now.WriteAt(b, int64(e.Start.Bytes()))
		}
		if err != nil {
			i.fail("put the plex of %s back: %v", l.Name, err)
		}
	}
	if err := now.Sync(); err != nil {
		i.fail("flush: %v", err)
	}
}

// refreshAll lets both processes look.
func (r *rig) refreshAll() {
	for _, p := range r.procs {
		if err := p.provider.Refresh(context.Background()); err != nil {
			r.fail("refresh: %v", err)
		}
	}
}

// replug pulls a drive, which the kernel then drops, plugs an image of it in, and recovers a mirror.
func (r *rig) replug(p *process, all []*image) *call {
	at := slices.IndexFunc(all, func(i *image) bool {
		told := !slices.ContainsFunc(i.mirrors, func(id uuid.UUID) bool { return !i.tells(i.records[id], false) })
		return told && !i.isUsedAlone() && i.fits()
	})
	if at < 0 {
		return nil
	}
	i := all[at]
	i.vanish(i.drive)
	defer i.returns(seqStep{})
	for _, id := range slices.SortedFunc(maps.Keys(i.records), compareUUIDs) {
		l := i.records[id]
		if at := i.plexOn(l, i.drive); len(l.Copies()) > 1 && at >= 0 {
			for range 3 {
				i.write(id, i.someBlock(), true)
			}
			if raid, ok := i.legs(l); !ok || raid.Health[at] != dm.LegFailed && raid.Health[at] != dm.LegMissing {
				return nil
			}
		}
	}
	i.rig.mem.Return(i.drive)
	delete(i.absent, i.drive)
	i.put()
	l, err := p.provider.LUN(i.mirrors[0].String())
	if err != nil {
		i.fail("find: %v", err)
	}
	return &call{
		text: fmt.Sprintf("recover %s with an older image", l.Name()), codes: changeCodes(),
		do: func(ctx context.Context) error { _, err := l.Recover(ctx); return err },
	}
}

// isUsedAlone reports whether a LUN with one plex is on the drive and active.
func (i *image) isUsedAlone() bool {
	for id, l := range i.records {
		if name, _ := i.device(id); name != "" && len(l.Copies()) == 1 && slices.Contains(i.pathsOf(l), i.drive) {
			return true
		}
	}
	return false
}
