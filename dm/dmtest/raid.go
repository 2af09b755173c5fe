package dmtest

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// raid is a raid1 array: the state that dm-raid and md keep in memory, under their names where that helps to compare.
type raid struct {
	table   *table
	options options
	length  size.Sectors
	legs    []*leg
	bits    bitmap

	events   uint64
	resync   uint64 // recovery_cp: sectors in sync array-wide, or never
	created  bool   // the array is new: no leg had a superblock
	rewrite  bool   // superblocks must be written at the next chance
	fullsync bool   // recovery copies everything, whatever the bitmap says
	prepared bool   // has been resumed before
	started  bool   // as prepared, and the resume has succeeded
	active   bool   // written to since the superblocks last said so (md's safe mode)
	sync     thread
}

// leg is one member of the array (struct md_rdev).
type leg struct {
	missing    bool // "- -" in the table
	meta, data lower
	firstUse   bool // no superblock, or named by rebuild
	inSync     bool
	faulty     bool
	detached   bool   // raid_disk is -1
	returned   bool   // saved_raid_disk: recorded as failed, so the bitmap says what it lacks
	offset     uint64 // recovery_offset: sectors rebuilt, or never
}

// working reports whether the leg takes part: it gets writes and metadata.
func (l *leg) working() bool { return !l.missing && !l.faulty && !l.detached }

// newRaid is dm-raid's constructor (raid_ctr).
func newRaid(t *table, words []string, length size.Sectors) (target, error) {
	o, err := parseOptions(words, length)
	if err != nil {
		return nil, err
	}
	r := &raid{table: t, options: o, length: length, sync: thread{frozen: true, interrupted: true}}
	for i := 0; i < len(o.legWords); i += 2 {
		l, err := r.openLeg(o.legWords[i], o.legWords[i+1])
		if err != nil {
			return nil, err
		}
		r.legs = append(r.legs, l)
	}
	for _, i := range o.rebuild {
		if r.legs[i].missing {
			return nil, refuse("raid: Unable to rebuild drive while metadata device not specified")
		}
		r.legs[i].firstUse, r.legs[i].inSync, r.legs[i].offset = true, false, 0
	}
	if err := r.analyse(); err != nil {
		return nil, err
	}
	return r, r.run()
}

func (r *raid) openLeg(metaWord, dataWord string) (*leg, error) {
	l := &leg{inSync: true, offset: never}
	if metaWord == "-" && dataWord == "-" {
		l.missing, l.inSync = true, false
		return l, nil
	}
	if metaWord == "-" || dataWord == "-" {
		return nil, refuse("raid: No data device supplied with metadata device (a leg without metadata is not simulated)")
	}
	var err error
	if l.meta, err = r.table.open(metaWord); err != nil {
		return nil, err
	}
	if l.data, err = r.table.open(dataWord); err != nil {
		return nil, err
	}
	if l.data.length() < int64(r.length.Bytes()) {
		return nil, refuse("raid: Component device(s) too small")
	}
	return l, nil
}

// run is what md does when it starts the array, still frozen (raid1.c, raid1_run and setup_conf).
func (r *raid) run() error {
	if r.inSync() == 0 {
		return refuse("raid: Failed to run raid array")
	}
	if r.inSync() == 1 {
		r.resync = never
	}
	for _, l := range r.legs {
		if l.working() && !l.inSync && !l.returned {
			r.fullsync = true
		}
	}
	return r.openBitmap()
}

// inSync is how many legs hold all of the data, as far as md knows.
func (r *raid) inSync() int {
	n := 0
	for _, l := range r.legs {
		if l.inSync && l.working() {
			n++
		}
	}
	return n
}

// degraded reports whether a leg is missing, failed or not in sync.
func (r *raid) degraded() bool { return r.inSync() < len(r.legs) }

// first is the first leg in sync; nil when there is none.
func (r *raid) first() *leg {
	for _, l := range r.legs {
		if l.inSync && l.working() {
			return l
		}
	}
	return nil
}

func (r *raid) params() string { return r.options.params() }

// preresume is raid_preresume: only the first resume of a table loads anything.
func (r *raid) preresume() error {
	if r.prepared {
		return nil
	}
	r.prepared = true
	if r.rewrite {
		if err := r.update(); err != nil {
			return err
		}
	}
	if err := r.loadBits(); err != nil {
		return err
	}
	if r.resync != 0 && r.resync != never {
		r.sync.requested = true
	}
	return nil
}

// resume is raid_resume. From the second one on it tries legs that have failed again.
func (r *raid) resume() error {
	if r.started {
		r.revive()
	}
	r.started = true
	r.sync.frozen, r.sync.needed = false, true
	if r.table.kernel.release != Linux6_1 && r.degraded() {
		return unheard(r.update())
	}
	return nil
}

// revive takes legs back that have failed and whose superblock can be read (attempt_restore_of_faulty_devices).
func (r *raid) revive() {
	for _, l := range r.legs {
		if l.faulty && l.meta.read(make([]byte, 512), 0) == nil {
			l.faulty, l.detached, l.returned = false, false, true
			l.inSync, l.offset = false, 0
		}
	}
}

// postsuspend is raid_postsuspend: the sync thread stops, bitmap and superblocks go to the legs.
func (r *raid) postsuspend() error {
	if r.sync.done {
		if err := unheard(r.reap()); err != nil {
			return err
		}
	}
	r.stop()
	r.sync.frozen, r.sync.interrupted, r.active = true, true, false
	return errors.Join(unheard(r.clean()), unheard(r.update()))
}

// unheard drops a failed write of metadata to the last leg, in places from which the kernel cannot report it.
func unheard(err error) error {
	if errors.Is(err, unix.EIO) {
		return nil
	}
	return err
}

// destroy is raid_dtr. It writes the first page of the bitmap once more, from what is in memory, whatever has been
// written to the drives since. On Linux 6.1 a table that was never resumed does so too, and has no bits in memory.
func (r *raid) destroy() error {
	switch {
	case r.prepared:
	case r.bits.present && r.table.kernel.release == Linux6_1:
		clear(r.bits.set)
	default:
		return nil
	}
	return unheard(r.persistPage(0))
}

// flush makes writes durable on every leg. A leg on which that is impossible has failed.
func (r *raid) flush() error {
	for _, l := range r.legs {
		if !l.working() {
			continue
		}
		if err := l.data.flush(); err != nil {
			if err := r.fail(l, err); err != nil {
				return err
			}
		}
	}
	return nil
}
