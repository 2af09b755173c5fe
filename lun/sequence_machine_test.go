package lun_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// writes writes some blocks as users do.
func (r *rig) writes(s seqStep) {
	ids := slices.SortedFunc(maps.Keys(r.volumes), compareUUIDs)
	for range 1 + s.B%4 {
		if len(ids) > 0 {
			r.write(ids[s.A%len(ids)], r.someBlock(), s.C%2 == 0)
		}
	}
}

func (r *rig) ticks(s seqStep) {
	for range 1 + s.B%4 {
		r.tick(1 + s.A%4)
	}
}

// age lets the kernel forget about regions that rest.
func (r *rig) age(seqStep) {
	if err := r.kernel.Age(); err != nil {
		r.usable("age", "", err)
	}
}

// hold opens a LUN, or closes it again.
func (r *rig) hold(s seqStep) {
	ids := slices.SortedFunc(maps.Keys(r.records), compareUUIDs)
	if len(ids) == 0 {
		return
	}
	id := ids[s.A%len(ids)]
	if release := r.held[id]; release != nil {
		release()
		delete(r.held, id)
		return
	}
	if name, _ := r.device(id); name != "" {
		if release, err := r.kernel.Hold(name); err == nil {
			r.held[id] = release
		}
	}
}

func (r *rig) refresh(s seqStep) {
	r.usable("refresh", "", r.procs[s.Process].provider.Refresh(context.Background()))
}

func (r *rig) restart(s seqStep) {
	r.procs[s.Process].dead.Store(true)
	r.procs[s.Process].provider.Close()
	r.start(s.Process)
}

// powerCut cuts the power while nothing is being changed.
func (r *rig) powerCut(seqStep) {
	before := r.members(r.records)
	r.cut(someFate(r.random))
	r.records = r.truth(blocktest.Kept)
	if now := r.members(r.records); !now.is(before) && !r.unsure {
		r.fail("power cut: LUNs were\n%s\nand are\n%s", before, now)
	}
	r.unsure = false
	r.adopt(call{}, nil)
}

// move has the drives go to another host without a word to the first.
func (r *rig) move(s seqStep) {
	r.host++
	r.powerCut(s)
}

func (r *rig) breaks(s seqStep) { r.harm(seqPath(s.C % seqDrives)) }

// heal ends the faults of all drives.
func (r *rig) heal(seqStep) {
	for drive := range r.sick {
		r.mem.Heal(drive)
		r.mem.Change(drive, readOnly(false))
	}
	clear(r.sick)
}

func (r *rig) vanishes(s seqStep) { r.vanish(seqPath(s.C % seqDrives)) }

// returns brings one of the drives back that are away.
func (r *rig) returns(s seqStep) {
	if away := slices.Sorted(maps.Keys(r.absent)); len(away) > 0 {
		drive := away[s.A%len(away)]
		r.note("    %s is back", drive)
		r.mem.Return(drive)
		delete(r.absent, drive)
	}
}

// finish ends all drive faults, and expects every LUN to become healthy, and to stay so after a power cut.
func (r *rig) finish(how uint64) {
	r.note("finish %d", how)
	for _, release := range r.held {
		release()
	}
	clear(r.held)
	r.unplug(seqStep{})
	r.heal(seqStep{})
	for len(r.absent) > 0 {
		r.returns(seqStep{})
	}
	if how%3 == 0 {
		r.powerCut(seqStep{})
	}
	r.repair()
	r.whole()
	if how%2 == 0 {
		r.powerCut(seqStep{})
	} else {
		r.deactivateAll()
	}
	r.repair()
	r.whole()
}

// deactivateAll takes all LUNs down, which leaves no device.
func (r *rig) deactivateAll() {
	results, err := r.procs[0].provider.Deactivate(context.Background())
	if err == nil {
		err = resultErrors(results)
	}
	if list, listErr := r.kernel.List(context.Background()); err != nil || listErr != nil || len(list) > 0 {
		r.fail("deactivate all: %v; devices %v, %v", err, list, listErr)
	}
}

// repair does what an administrator would do with a machine in this state.
func (r *rig) repair() {
	ctx := context.Background()
	r.restart(seqStep{})
	r.restart(seqStep{Process: 1})
	p := r.procs[0].provider
	if _, err := p.TakeOver(ctx); err != nil {
		r.fail("take over: %v", err)
	}
	results, err := p.Assemble(ctx, lun.AssembleOptions{})
	if err == nil {
		err = resultErrors(results)
	}
	if err != nil {
		r.fail("assemble in the end: %v", err)
	}
	if problems := p.Problems(); len(problems) > 0 {
		r.fail("problems in the end: %v", problems)
	}
	r.cutOff = false
	r.notSuspended()
	r.verify()
	for round := 0; !r.mended(p); round++ {
		if round == 12 {
			r.fail("not whole after %d rounds", round)
		}
	}
	if r.verify(); r.wrong != "" {
		r.fail("in the end: %s", r.wrong)
	}
}

// mended lets everything that runs end, recovers what has failed, and reports whether there was nothing to do.
func (r *rig) mended(p *lun.Provider) bool {
	ctx := context.Background()
	idle := true
	for _, l := range p.LUNs() {
		record, err := l.Record()
		if err != nil {
			r.fail("record of %s: %v", l.Name(), err)
		}
		if record.Operation != nil {
			idle = false
			err := l.SetRate(ctx, lun.Unlimited)
			if r.note("rate of %s in the end: %v", l.Name(), err); vds.CodeOf(err) == vds.ErrObjectStatusFailed {
				r.startAnew(ctx, p, l.Name())
			}
		}
	}
	for range 8 { // begin, copy, end, and rest, of two kinds of copies
		if err := r.kernel.Tick(64); err != nil {
			r.fail("run to the end: %v", err)
		}
	}
	if err := r.waitForChecks(ctx, p); err != nil && (!r.harmed || !errors.Is(err, vds.ErrIO)) {
		r.fail("look at operations in the end: %v", err)
	}
	synctest.Wait()
	for _, l := range p.LUNs() {
		props, err := l.Properties(ctx)
		if err != nil {
			r.fail("properties of %s: %v", l.Name(), err)
		}
		if props.Health == vds.HealthHealthy {
			continue
		}
		idle = false
		if props.Health == vds.HealthFailedRedundancy && props.Operation == nil {
			_, err := l.Recover(ctx)
			if r.note("recover %s in the end: %v", l.Name(), err); err != nil && !errors.Is(err, vds.ErrAnotherCallInProgress) {
				r.fail("recover %s in the end: %v", l.Name(), err)
			}
		}
	}
	return idle
}

// startAnew starts a LUN from what its drives hold. The kernel may serve it from a plex whose copy has ended, and which could not be
// noted because its drive failed: nothing else leads out of that.
func (r *rig) startAnew(ctx context.Context, p *lun.Provider, name string) {
	results, err := p.Deactivate(ctx, name)
	if err == nil && resultErrors(results) == nil {
		results, err = p.Assemble(ctx, lun.AssembleOptions{LUNs: []string{name}})
	}
	if err = errors.Join(err, resultErrors(results)); err != nil {
		r.fail("start %s anew: %v", name, err)
	}
}

// whole checks that every LUN is served from all of its plexes, which are equal, and that there is nothing else.
func (r *rig) whole() {
	r.records = r.truth(blocktest.Kept)
	devices := 0
	for _, l := range r.records {
		if !r.live(l) {
			r.fail("%s is not whole: %+v", l.Name, l)
		}
		if devices++; len(l.Plexes) > 1 {
			devices += 2 * len(l.Copies())
			r.equal(l)
		}
	}
	list, err := r.kernel.List(context.Background())
	if err != nil || len(list) != devices {
		r.fail("%d devices, want %d: %v, %v", len(list), devices, list, err)
	}
	for _, d := range list {
		if info, err := r.kernel.Info(context.Background(), d.Name); err != nil || info.Inactive || info.Suspended {
			r.fail("in the end %s is %+v, %v", d.Name, info, err)
		}
	}
	r.idle()
}

// idle checks that there is nothing to do for Assemble.
func (r *rig) idle() {
	var effects []blocktest.Effect
	r.mem.OnEffect = func(e blocktest.Effect) error { effects = append(effects, e); return nil }
	defer func() { r.mem.OnEffect = nil }()
	if _, err := r.procs[0].provider.Assemble(context.Background(), lun.AssembleOptions{}); err != nil || len(effects) > 0 {
		r.fail("assembling again does %v, %v", effects, err)
	}
}

// equal checks that the plexes of a mirror are.
func (r *rig) equal(l catalog.LUN) {
	first, other := make([]byte, 64*size.KiB), make([]byte, 64*size.KiB)
	for off := size.Bytes(0); off < l.Size.Bytes(); off += size.Bytes(len(first)) {
		copies := l.Copies()
		r.read(copies[0], off, first)
		for i, p := range copies[1:] {
			if r.read(p, off, other); string(first) != string(other) {
				r.fail("plex %d of %s differs from plex 0 after %s", i+1, l.Name, off)
			}
		}
	}
}

// read reads a plex past the kernel. Extents are multiples of what is read at once.
func (r *rig) read(p catalog.Plex, off size.Bytes, b []byte) {
	for _, e := range p.Data {
		if off >= e.Length.Bytes() {
			off -= e.Length.Bytes()
			continue
		}
		disk, err := r.mem.Open(context.Background(), r.paths[e.Drive], blockdev.Read)
		if err != nil {
			r.fail("open: %v", err)
		}
		defer disk.Close()
		if _, err := disk.ReadAt(b, int64(e.Start.Bytes()+off)); err != nil {
			r.fail("read: %v", err)
		}
		return
	}
}

// device is the name of the device of a LUN that has a live table and is not suspended, and its length; "" when there is none.
// A table that fails all I/O, as a drive leaves it that fails in the swap, is none: it stays until somebody assembles.
func (r *rig) device(id uuid.UUID) (string, int64) {
	ctx := context.Background()
	list, err := r.kernel.List(ctx)
	if err != nil {
		r.violated("list: %v", err)
	}
	for _, d := range list {
		if d.UUID != "PLEX-"+id.String() {
			continue
		}
		info, err := r.kernel.Info(ctx, d.Name)
		if err != nil || !info.Live || info.Suspended {
			return "", 0
		}
		table, err := r.kernel.Table(ctx, d.Name)
		if err != nil || table[0].Target.Type() == "error" {
			return "", 0
		}
		return d.Name, int64(table.Size().Bytes())
	}
	return "", 0
}
