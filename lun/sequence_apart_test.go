package lun_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// halves is a mirror whose plexes are used without each other: those on the drive away elsewhere, the others here, or not at all.
type halves struct {
	*rig
	id     uuid.UUID
	away   string
	second bool    // elsewhere is another host; otherwise this one, at another time
	forked bool    // it is used here, too
	there  *volume // what the plex holds that was away
	plexes []uuid.UUID
	chosen int // which of plexes is to be kept
}

// useApart starts one plex of a mirror without the others, and in most cases the others without that one. Together they are a conflict,
// until one of them is kept. If only that one was started, it is the newest.
func (r *rig) useApart(p *process, s seqStep) *call {
	l, found := r.someMirror(s.A)
	if !found || !r.calm() || !r.down(&p, s) {
		return nil
	}
	l = r.records[l.ID]
	a := &halves{rig: r, id: l.ID, second: s.C%2 == 0, forked: s.C%4 > 0, chosen: s.A % len(l.Copies())}
	for _, plex := range l.Copies() {
		a.plexes = append(a.plexes, plex.ID)
	}
	a.away = r.paths[l.Copies()[s.B%len(l.Copies())].Meta.Drive]
	r.tally.forks++
	r.note("%s apart: %s is away, at another host: %v, used here, too: %v", l.Name, a.away, a.second, a.forked)
	mem := a.elsewhere()
	if a.forked {
		r.vanish(a.away)
		r.refreshAll()
		a.start(p.provider, r.kernel, r.volumes[a.id])
		if s.Seed%2 == 0 {
			a.stop(p)
		}
	}
	r.mem.Restore(a.away, mem)
	r.mem.Return(a.away)
	delete(r.absent, a.away)
	r.refreshAll()
	a.takeOver(p.provider)
	r.refreshAll()
	r.records = r.truth(blocktest.Kept)
	if !a.forked {
		r.volumes[a.id] = a.there
		return r.assembling(p, "assemble what was used elsewhere", lun.AssembleOptions{}, true)
	}
	a.refused(p)
	return a.keeping(p)
}

// someMirror is a mirror of which all plexes hold the data.
func (r *rig) someMirror(n int) (catalog.LUN, bool) {
	var all []catalog.LUN
	for _, l := range r.records {
		if len(l.Copies()) > 1 && r.live(l) && r.held[l.ID] == nil {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return catalog.LUN{}, false
	}
	slices.SortFunc(all, func(a, b catalog.LUN) int { return compareUUIDs(a.ID, b.ID) })
	return all[n%len(all)], true
}

// elsewhere is the machine after the mirror was used with the drive that is away, and without the others.
func (a *halves) elsewhere() *blocktest.Mem {
	mem := withoutOthers(a.mem.Cut(blocktest.Kept))
	for _, path := range a.ownAll() {
		if path != a.away {
			mem.Vanish(path)
		}
	}
	host := a.hostID()
	if a.second {
		host = "second"
	}
	kernel := dmtest.New(mem, a.linux)
	p, err := lun.Open(context.Background(), lun.Options{Kernel: kernel, Devices: mem, LockPath: a.lock, Hosts: []string{host}, Workers: 1})
	if err != nil {
		a.fail("open elsewhere: %v", err)
	}
	defer p.Close()
	a.takeOver(p)
	a.there = a.volumes[a.id].clone()
	a.start(p, kernel, a.there)
	if a.random.IntN(2) == 0 {
		a.named++
		l, err := p.LUN(a.id.String())
		if err == nil {
			err = l.Rename(context.Background(), fmt.Sprintf("away%d", a.named))
		}
		if err != nil {
			a.fail("rename elsewhere: %v", err)
		}
	}
	synctest.Wait()
	if a.random.IntN(2) == 0 {
		return mem.Cut(someFate(a.random))
	}
	if results, err := p.Deactivate(context.Background()); err != nil || resultErrors(results) != nil {
		a.fail("deactivate elsewhere: %v, %v", err, resultErrors(results))
	}
	return mem
}

// takeOver takes over the drive that the other host has used.
func (a *halves) takeOver(p *lun.Provider) {
	if !a.second {
		return
	}
	if _, err := p.TakeOver(context.Background(), a.away); err != nil {
		a.fail("take over %s: %v", a.away, err)
	}
}

// start starts the mirror by force, and writes to it for good.
func (a *halves) start(p *lun.Provider, kernel *dmtest.Kernel, v *volume) {
	ctx := context.Background()
	results, err := p.Assemble(ctx, lun.AssembleOptions{LUNs: []string{a.id.String()}, Force: true})
	if err = errors.Join(err, resultErrors(results)); err != nil {
		a.fail("start by force: %v", err)
	}
	l, err := p.LUN(a.id.String())
	if err != nil {
		a.fail("find: %v", err)
	}
	record, err := l.Record()
	if err != nil {
		a.fail("record: %v", err)
	}
	name := "plex-" + l.Name()
	for range 1 + a.random.IntN(4) {
		at := a.someBlock()
		if (at+1)*block > int64(record.Size.Bytes()) {
			continue
		}
		a.stamp++
		if err := kernel.WriteAt(ctx, name, stamped(a.stamp), at*block); err != nil {
			a.fail("write to %s: %v", name, err)
		}
		a.note("    write %d to block %d of %s", a.stamp, at, name)
		v.cell(at).wrote(a.stamp, true)
	}
	if err := kernel.Flush(ctx, name); err != nil {
		a.fail("flush %s: %v", name, err)
	}
	v.flushed()
}

// stop takes the mirror down.
func (a *halves) stop(p *process) {
	results, err := p.provider.Deactivate(context.Background(), a.id.String())
	if err != nil || resultErrors(results) != nil {
		a.fail("deactivate: %v, %v", err, resultErrors(results))
	}
}

// refused checks that the mirror is shown as what it is, and not started.
func (a *halves) refused(p *process) {
	before, _ := a.device(a.id)
	results, err := p.provider.Assemble(context.Background(), lun.AssembleOptions{LUNs: []string{a.id.String()}})
	after, _ := a.device(a.id)
	if !a.isForked() || before != after || err == nil && resultErrors(results) == nil {
		a.fail("a fork is shown: %v; assemble: %v, %v; device %q, then %q", a.isForked(), err, resultErrors(results), before, after)
	}
}

// isForked reports whether a decision is due.
func (r *rig) isForked() bool {
	return slices.ContainsFunc(r.contradictions(), func(err error) bool { return errors.Is(err, catalog.ErrForked) })
}

// keeping is the call that decides for one of the plexes.
func (a *halves) keeping(p *process) *call {
	plex := a.plexes[a.chosen]
	busy := a.mayBeBusy()
	c := &call{
		text: fmt.Sprintf("keep plex %d of %s", a.chosen, a.id), must: !busy, codes: []vds.Code{vds.ErrDeviceInUse},
		loose: true, // the decision may have been made before the error
		do: func(ctx context.Context) error {
			l, err := p.provider.LUN(a.id.String())
			if err != nil {
				return err
			}
			return l.Keep(ctx, plex)
		},
		then: func() { a.decide(p.number) },
	}
	all, now := a.members(a.records), a.records[a.id].Name
	c.after = all.without(now).with(a.nameOn(a.chosen), all[now])
	return c
}

// mayBeBusy reports whether the mirror may be in use without the chosen plex. Of two that are here, one may be filled from the other.
func (a *halves) mayBeBusy() bool {
	name, _ := a.device(a.id)
	return name != "" && (a.isAway(a.chosen) || len(a.plexes) > 2)
}

// isAway reports whether a plex is the one that was away.
func (a *halves) isAway(n int) bool { return a.paths[a.records[a.id].Plexes[n].Meta.Drive] == a.away }

// nameOn is the name of the mirror by the drive of a plex.
func (a *halves) nameOn(n int) string {
	i := &image{rig: a.rig, drive: a.paths[a.records[a.id].Plexes[n].Meta.Drive]}
	records := i.recordsOf(a.mem)
	at := slices.IndexFunc(records, func(l catalog.LUN) bool { return l.ID == a.id })
	if at < 0 {
		a.fail("%s has no record of %s", i.drive, a.id)
	}
	return records[at].Name
}

// decide brings a decision to its end that may have been cut off.
func (a *halves) decide(number int) {
	a.mend()
	p := a.procs[number]
	if a.isForked() {
		a.chosen = a.random.IntN(len(a.plexes))
		a.note("    decided once more: plex %d", a.chosen)
		if a.mayBeBusy() {
			a.stop(p)
		}
		l, err := p.provider.LUN(a.id.String())
		if err == nil {
			err = l.Keep(context.Background(), a.plexes[a.chosen])
		}
		if err != nil || a.isForked() {
			a.fail("keep plex %d of %s: %v", a.chosen, a.id, err)
		}
	}
	a.writeBack()
	if a.isAway(a.chosen) {
		a.volumes[a.id] = a.there
	}
	a.records = a.truth(blocktest.Kept)
	a.refreshAll()
}

// writeBack makes durable what the drives have in their caches. A decision that was cut off may be there only. After a power cut the
// mirror would be forked again, which is right, and which the rest of the sequence does not expect.
func (a *halves) writeBack() {
	for n := range seqDrives {
		disk, err := a.mem.Open(context.Background(), seqPath(n), blockdev.Write)
		if err != nil {
			continue // it is away
		}
		if err := errors.Join(disk.Sync(), disk.Close()); err != nil {
			a.note("    %s keeps its cache: %v", seqPath(n), err)
		}
	}
}
