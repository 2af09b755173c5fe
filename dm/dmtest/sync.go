package dmtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// thread is md's sync thread and its flags (MD_RECOVERY_*).
type thread struct {
	frozen      bool
	interrupted bool // until md looks for the first time
	needed      bool // md is to look whether there is something to do
	running     bool
	done        bool // has run to its end, and nobody has noticed
	sync        bool // array-wide: resync, check or repair; else recovery of legs
	recover     bool
	requested   bool
	check       bool

	position   uint64 // sectors
	window     uint64 // sectors copied or compared since it started
	mismatches uint64 // sectors
}

// never is the offset of a leg, or of the array, with nothing left to do.
const never = raidmeta.InSync

// throttledWindow is how far an array gets if its table limits it to almost no speed. md has so many requests in flight before
// it looks at the speed for the first time.
const throttledWindow = uint64(2 * size.MiB / size.Sector)

// Tick lets time pass. Each array that is not suspended takes the next step that md would take. It begins a sync, copies up
// to that many regions, or ends a sync.
func (k *Kernel) Tick(regions int) error {
	return k.arrays(func(r *raid) error { return r.tick(regions) })
}

// Age lets so much time pass that md's cleaner has cleared the bits of all regions that are no longer written.
func (k *Kernel) Age() error {
	return k.arrays(func(r *raid) error {
		if r.sync.frozen {
			return nil
		}
		return r.clean()
	})
}

// RunToEnd lets time pass until no array is busy. It fails when the rates of an array are so low that it would never end.
func (k *Kernel) RunToEnd() error {
	for {
		busy := false
		err := k.arrays(func(r *raid) error {
			if r.sync.running && r.throttled() {
				return errors.New("run to end: an array is throttled")
			}
			busy = busy || r.busy()
			return r.tick(64)
		})
		if err != nil || !busy {
			return err
		}
	}
}

// arrays calls do for every live array.
func (k *Kernel) arrays(do func(*raid) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs error
	for _, d := range k.devices {
		errs = errors.Join(errs, d.live.each(func(t target) error {
			if r, ok := t.(*raid); ok {
				return do(r)
			}
			return nil
		}))
	}
	return errs
}

func (r *raid) busy() bool {
	return !r.sync.frozen && (r.sync.needed || r.sync.running || r.sync.done || r.rewrite || r.active)
}

// tick is one step of md_check_recovery or of the sync thread.
func (r *raid) tick(regions int) error {
	switch {
	case r.sync.frozen:
		return nil
	case r.sync.done:
		return r.reap()
	case r.sync.running:
		return r.advance(regions)
	case r.sync.needed:
		r.sync.needed = false
		return r.start()
	case r.rewrite || r.active:
		r.active = false
		return r.update()
	}
	return nil
}

// start picks the next action. Linux 6.1 recovers legs first; 6.12 does what the whole array needs first.
func (r *raid) start() error {
	spare := r.spare()
	wanted := r.sync.requested && r.sync.sync
	recoverFirst := spare != nil && (r.table.kernel.release == Linux6_1 || r.resync == never) && !wanted
	switch {
	case recoverFirst:
		r.sync = thread{recover: true, running: true, position: spare.offset}
	case r.resync != never && !wanted:
		r.sync = thread{sync: true, requested: r.sync.requested, running: true, position: r.resync}
	case wanted:
		r.sync = thread{sync: true, requested: true, check: r.sync.check, running: true}
	default:
		r.sync = thread{mismatches: r.sync.mismatches}
		return nil
	}
	return r.update()
}

// spare is the leg to recover that has the least data so far; nil when there is none.
func (r *raid) spare() *leg {
	var least *leg
	for _, l := range r.legs {
		if l.working() && !l.inSync && (least == nil || l.offset < least.offset) {
			least = l
		}
	}
	return least
}

// advance copies regions.
func (r *raid) advance(regions int) error {
	for ; regions > 0 && r.sync.position < uint64(r.length) && !r.throttled(); regions-- {
		step := sectors(r.bits.region) - r.sync.position%sectors(r.bits.region)
		step = min(step, uint64(r.length)-r.sync.position)
		if err := r.syncRegion(r.sync.position, step); err != nil {
			return r.abort(err)
		}
		if !r.sync.running {
			return nil // a leg has failed
		}
		r.sync.position += step
	}
	if r.sync.position < uint64(r.length) {
		r.checkpoint()
		return r.update()
	}
	r.finish()
	return nil
}

// finish notes in memory that the sync has run to its end (md_do_sync).
func (r *raid) finish() {
	r.sync.done = true
	if r.sync.sync && !r.sync.check {
		r.resync = never
	}
	for _, l := range r.legs {
		if r.sync.recover && l.working() && !l.inSync {
			l.offset = never
		}
	}
}

// throttled reports whether the table's rates stop the array after its first window.
func (r *raid) throttled() bool {
	return r.options.maxRate > 0 && r.options.maxRate < 100 && r.options.minRate > 0 && r.sync.window >= throttledWindow
}

// checkpoint notes in the legs, or in the array, how far the sync has come.
func (r *raid) checkpoint() {
	if r.sync.sync {
		if !r.sync.check {
			r.resync = max(r.resync, r.sync.position)
		}
		return
	}
	for _, l := range r.legs {
		if l.working() && !l.inSync {
			l.offset = max(l.offset, r.sync.position)
		}
	}
}

// stop interrupts the sync thread.
func (r *raid) stop() {
	if r.sync.running && !r.sync.done {
		r.checkpoint()
	}
	needed := r.sync.needed || r.sync.running && r.table.kernel.release == Linux6_1
	r.sync = thread{frozen: r.sync.frozen, needed: needed, mismatches: r.sync.mismatches}
}

// reap ends a sync that has run to its end (md_reap_sync_thread). Now the legs are in sync, the superblocks say so, and there
// is an event.
func (r *raid) reap() error {
	for _, l := range r.legs {
		if l.working() && l.offset == never {
			l.inSync, l.returned = true, false
		}
	}
	if r.sync.recover {
		r.fullsync = false
	}
	r.sync = thread{needed: true, mismatches: r.sync.mismatches}
	err := r.update()
	r.table.kernel.raise(r.table.holder)
	return err
}

// abort ends a recovery whose source cannot be read: the legs under recovery are detached and get nothing more
// (md_do_sync, Linux 6.12 and before). Nothing but loading the table again starts over.
func (r *raid) abort(cause error) error {
	if errors.Is(cause, ErrHang) {
		return cause
	}
	for _, l := range r.legs {
		if l.working() && !l.inSync {
			l.detached, l.offset = true, 0
		}
	}
	r.sync = thread{}
	err := r.update()
	r.table.kernel.raise(r.table.holder)
	return err
}

// syncRegion is raid1_sync_request for what lies in one region.
func (r *raid) syncRegion(at, length uint64) error {
	region := at / sectors(r.bits.region)
	if !r.bits.needed.Get(region) && !r.fullsync && !r.sync.requested {
		return nil
	}
	r.sync.window += length
	off, n := int64(size.Sectors(at).Bytes()), int64(size.Sectors(length).Bytes())
	if r.sync.requested {
		if write, err := r.scrub(off, n); !write || err != nil {
			return err
		}
	}
	b, free := room(n)
	defer free()
	if err := r.first().data.read(b, off); err != nil {
		return r.unreadable(at, fmt.Errorf("read %d sectors at %d: %w", length, at, err))
	}
	for _, l := range r.targets() {
		if err := l.data.write(b, off); err != nil {
			return r.fail(l, err)
		}
	}
	if r.whole() {
		r.bits.needed.Clear(region)
	}
	return nil
}

// scrub compares the legs, and reports whether the other legs are to be written.
func (r *raid) scrub(off, length int64) (write bool, err error) {
	different, err := r.compare(off, length)
	if r.sync.check { // a repair counts none (raid_status)
		r.sync.mismatches += different
	}
	return different != 0 && !r.sync.check, err
}

// targets is the legs that the sync thread writes to.
func (r *raid) targets() []*leg {
	var legs []*leg
	for _, l := range r.legs {
		if l != r.first() && l.working() && (!r.sync.recover || !l.inSync) {
			legs = append(legs, l)
		}
	}
	return legs
}

// rooms is memory for what is being copied. Tests have many kernels, each of which copies little.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// room is n bytes of any content. Whoever has them calls free in the end.
func room(n int64) (b []byte, free func()) {
	whole, _ := rooms.Get().(*[]byte)
	if int64(len(*whole)) < n {
		*whole = make([]byte, n)
	}
	return (*whole)[:n], func() { rooms.Put(whole) }
}

// whole reports whether every leg is in use, so that what is copied need not be copied again.
func (r *raid) whole() bool {
	for _, l := range r.legs {
		if !l.working() {
			return false
		}
	}
	return true
}

// action is the word for what the thread does (decipher_sync_action).
func (r *raid) action() string {
	switch t := r.sync; {
	case t.frozen:
		return "frozen"
	case !t.running || t.done:
		return "idle"
	case t.recover:
		return "recover"
	case !t.requested:
		return "resync"
	case t.check:
		return "check"
	default:
		return "repair"
	}
}

// status is the line that raid_status prints, where it is wrong too.
func (r *raid) status() string {
	action := r.action()
	done := r.sync.position
	if action == "idle" && (!r.sync.interrupted || r.table.kernel.release == Linux6_1) {
		done = r.resync
	}
	done = min(done, uint64(r.length))
	health := r.health(action, done)
	return fmt.Sprintf("raid1 %d %s %d/%d %s %d 0 -", len(r.legs), health, done, r.length, action, r.sync.mismatches)
}

// health is the letters of raid_status (rs_get_progress, __raid_dev_status).
func (r *raid) health(action string, done uint64) string {
	allSync, resyncing := false, false
	switch {
	case action == "idle" && done >= uint64(r.length):
		allSync = r.sync.recover
	case action == "recover":
	case action == "resync":
		resyncing = true
	case action == "check" || action == "repair":
		allSync = true
	case r.sync.needed:
		resyncing = true
	}
	letters := make([]byte, len(r.legs))
	for i, l := range r.legs {
		letters[i] = l.letter(resyncing, allSync)
	}
	return string(letters)
}

// letter is the health of one leg, while a resync of the whole array goes on or all legs count as in sync.
func (l *leg) letter(resyncing, allSync bool) byte {
	switch {
	case l.missing:
		return byte(dm.LegMissing)
	case l.faulty:
		return byte(dm.LegFailed)
	case resyncing || !allSync && !l.inSync:
		return byte(dm.LegSyncing)
	}
	return byte(dm.LegInSync)
}

// Message sends text to the target at sector.
func (k *Kernel) Message(ctx context.Context, name string, sector size.Sectors, text string) (string, error) {
	const op = "send message to"
	return "", k.change(ctx, op, "message", name, func(d *device) error {
		if d.live == nil {
			return refuse("no table")
		}
		for _, s := range d.live.segments {
			at := int64(sector.Bytes())
			if at >= s.start && at < s.start+s.length {
				return s.target.message(text)
			}
		}
		return refuse("Target message sector outside device.")
	})
}
