package raidmeta

import (
	"math/bits"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// Resync is the metadata for legs that were all in sync when the machine stopped without warning. With it the kernel
// copies the regions that were being written from the first leg to the others. Without it dm-raid drops those bits and
// reports the legs as in sync. The bits of every usable bitmap count. If no bitmap is usable, or its regions do not have
// the given size, the kernel copies everything.
//
// It fails with ErrInvalid when a leg is missing or not in sync. Use Returned then: the first leg in sync is the source,
// and all others are stale.
func Resync(slots []Slot, region size.Sectors) ([]Slot, error) {
	set, err := newSet(slots, region, nil)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(set.plan.InSync, false); i >= 0 {
		return nil, invalid("leg %d is missing: a resync needs all of them", i)
	}
	set.plan.Bits = set.bits()
	return AllInSync(set.plan)
}

// Returned is the metadata for stale legs: legs that had failed or were being filled, and are present again. With it the
// kernel copies to them the regions that the legs in sync have recorded since. It copies everything if no bitmap of the
// legs in sync is usable, or if its regions do not have the given size. It also does if a stale leg has no metadata that says
// how long it was away. A leg that is missing and not listed as stale stays failed and loses no bit.
//
// It fails with ErrInvalid when no leg is left to copy from, and when a leg neither stale nor missing is not in sync. It also
// fails when a stale leg is newer than the others and says that they have failed. Such a leg holds data that the others lack.
func Returned(slots []Slot, region size.Sectors, stale []int) ([]Slot, error) {
	set, err := newSet(slots, region, stale)
	if err != nil {
		return nil, err
	}
	for _, i := range stale {
		if err := set.mayReplace(i); err != nil {
			return nil, err
		}
	}
	inSync := len(slots) - bits.OnesCount64(failed(set.plan.InSync))
	if inSync > 1 && set.source.ResyncOffset != InSync {
		return nil, invalid("the legs in sync are in the middle of a resync")
	}
	return recovery(set.plan, set.bits())
}

// Stopped records that the legs in sync are equal, for sets with a vacant leg. The kernel never clears a bit of such a set,
// so the bits cannot show it. Instead EventsCleared equals Events, which the kernel never writes while a leg is missing
// (drivers/md/md-bitmap.c, md_bitmap_endwrite). No table may be loaded with this metadata: write Restarted first. It fails
// as Restarted does.
func Stopped(slots []Slot, region size.Sectors) ([]Slot, error) {
	stopped, err := Restarted(slots, region)
	for i := range stopped {
		stopped[i].Bitmap.EventsCleared = stopped[i].Bitmap.Events
	}
	return stopped, err
}

// Restarted is the metadata that starts equal legs in a set with a missing leg: the kernel copies nothing and keeps all
// bits. It fails with ErrInvalid when no leg is missing, or when a leg that is present is not in sync.
func Restarted(slots []Slot, region size.Sectors) ([]Slot, error) {
	set, err := newSet(slots, region, nil)
	if err != nil {
		return nil, err
	}
	return recovery(set.plan, set.bits())
}

// set is a set of slots read from the drives, and the plan for the set that replaces it.
type set struct {
	slots  []Slot
	stale  []int
	source Super // of the freshest leg in sync
	plan   AttachPlan
}

// newSet finds the legs in sync and checks that they agree.
func newSet(slots []Slot, region size.Sectors, stale []int) (set, error) {
	if len(slots) > maxLegs {
		return set{}, invalid("%d legs", len(slots))
	}
	s := set{slots: slots, stale: stale, plan: AttachPlan{RegionSize: region, InSync: make([]bool, len(slots))}}
	for _, i := range stale {
		if i < 0 || i >= len(slots) {
			return set{}, invalid("no leg %d in a set of %d", i, len(slots))
		}
	}
	for i, slot := range slots {
		s.plan.InSync[i] = !slot.missing() && !slices.Contains(stale, i)
		s.plan.Events = max(s.plan.Events, slot.Super.Events)
		if s.plan.InSync[i] && (s.source == Super{} || slot.Super.Events > s.source.Events) {
			s.source = slot.Super
		}
	}
	s.plan.ArraySize = s.source.ArraySize
	return s, s.agree()
}

// agree checks that there is a leg in sync, and that all legs taken for such are.
func (s set) agree() error {
	if s.source == (Super{}) {
		return invalid("no leg is left to copy from")
	}
	if err := geometry(s.plan.ArraySize, s.plan.RegionSize); err != nil {
		return err
	}
	for i, ok := range s.plan.InSync {
		super := s.slots[i].Super
		switch {
		case !ok:
		case super.ArraySize != s.source.ArraySize:
			return invalid("leg %d is of an array of %d sectors, others of %d", i, super.ArraySize, s.source.ArraySize)
		case super.RecoveryOffset != InSync || s.source.CallsFailed(super):
			return invalid("leg %d is not in sync", i)
		}
	}
	return nil
}

// mayReplace checks that stale leg i is not the only one with the newest data.
func (s set) mayReplace(i int) error {
	leg := s.slots[i].Super
	if leg.Events <= s.source.Events {
		return nil
	}
	for j, ok := range s.plan.InSync {
		if ok && leg.CallsFailed(s.slots[j].Super) {
			return invalid("leg %d is newer than leg %d and says that it has failed", i, j)
		}
	}
	return nil
}

// bits is what may differ between the legs: the bits of every usable bitmap, or all.
func (s set) bits() Bits {
	regions := Regions(s.plan.ArraySize, s.plan.RegionSize)
	if s.forgotten() {
		return NewBits(regions, true)
	}
	merged, found := NewBits(regions, false), false
	for i, ok := range s.plan.InSync {
		if ok && s.usable(i) {
			merged.Or(s.slots[i].Bitmap.Bits)
			found = true
		}
	}
	if !found {
		return NewBits(regions, true)
	}
	return merged
}

// usable reports whether the bitmap of leg i can be trusted and has the new set's regions.
func (s set) usable(i int) bool {
	b := s.slots[i].Bitmap
	return s.slots[i].Tracks() && b.ArraySize == s.plan.ArraySize && b.RegionSize == s.plan.RegionSize
}

// forgotten reports whether bits may have been cleared while a stale leg was away. They cannot say what it lacks then.
func (s set) forgotten() bool {
	for _, i := range s.stale {
		for j, ok := range s.plan.InSync {
			if ok && s.slots[i].Super.Events < s.slots[j].Bitmap.EventsCleared {
				return true
			}
		}
		if s.slots[i].missing() {
			return true
		}
	}
	return false
}

// CallsFailed reports whether the leg with superblock s has recorded that leg has failed. The bits of s stand for positions
// as leg recorded its own. A detached leg has no position and has failed.
func (s Super) CallsFailed(leg Super) bool {
	return leg.ArrayPosition >= maxLegs || s.FailedDevices&(1<<leg.ArrayPosition) != 0
}
