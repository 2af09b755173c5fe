package raid1

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Start is the metadata for the start of a mirror that no table uses: after a boot, after a crash, and after a clean stop.
// After a crash dm-raid does not know which regions were being written, and the legs may differ there (reference: dm-raid.c
// never records "dirty"). The metadata from Start makes the kernel copy every region whose bit is set.
//
//   - All plexes hold the data: the regions that are set are copied from the first one to the others.
//   - Else the newest plex that holds the data is the source of all others, which get every region that is set. The kernel
//     does not resync several legs and fill another at one time in an order that is right on every version.
//
// A plex that is an earlier copy of itself gets everything. Weigh says which one is.
//
// After a clean stop no bit is set, and nothing is copied: the bitmap is the mark of use. A tracked LUN, whose bits stay, has
// another mark; see raidmeta.Stopped. Errors: vds.ErrObjectStatusFailed when no plex may be believed.
func Start(l catalog.LUN, roles record.Roles, reads []Read) ([]raidmeta.Slot, error) {
	if err := checkReadable(l, roles, reads); err != nil {
		return nil, err
	}
	seen := Weigh(l, roles, reads)
	slots := seen.Slots
	complete, behind := Sources(l, roles, slots)
	if len(complete) == 0 {
		if from := seen.candidates(roles); seen.Unused && len(from) > 0 {
			return fromPlexes(l, from)
		}
		return nil, seen.noSource(l)
	}
	events := func(i int) uint64 { return slots[i].Super.Events }
	newest := slices.MaxFunc(complete, func(a, b int) int { return cmp.Compare(events(a), events(b)) })
	if events(newest) == events(complete[0]) {
		newest = complete[0]
		switch len(complete) {
		case len(l.Plexes):
			return raidmeta.Resync(slots, l.RegionSize)
		case len(l.Copies()):
			if len(complete) == 1 || allClean(slots[:len(complete)]) {
				return raidmeta.Restarted(slots, l.RegionSize)
			}
		}
	}
	return fillFrom(l, slots, newest, complete, behind)
}

// fillFrom is the metadata with which one of the complete plexes is the source of all others.
func fillFrom(l catalog.LUN, slots []raidmeta.Slot, from int, complete, behind []int) ([]raidmeta.Slot, error) {
	source := slots[from].Bitmap
	for _, i := range complete {
		if b := slots[i].Bitmap; slots[i].Tracks() && b.RegionSize == source.RegionSize && b.ArraySize == source.ArraySize {
			source.Bits.Or(b.Bits)
		}
	}
	others := slices.DeleteFunc(complete, func(i int) bool { return i == from })
	return raidmeta.Returned(slots, l.RegionSize, append(behind, others...))
}

// noSource is the error about a mirror none of whose plexes that are here may be believed.
func (e Evidence) noSource(l catalog.LUN) error {
	reason, hint := "no plex that is here holds all of the data", "see `plexctl lun show "+l.Name+"`"
	for i, old := range e.Old {
		if old {
			reason += fmt.Sprintf("; plex %s is an earlier copy of itself", l.Plexes[i].ID)
			hint = "attach the drives with the newest copy; to go on with one of these: `plexctl lun recover " + l.Name + " --keep PLEX`"
		}
	}
	return record.LUNFault(vds.ErrObjectStatusFailed, "start", l.Name, reason, hint)
}

// allClean reports whether a tracked LUN was stopped with its legs in sync.
func allClean(slots []raidmeta.Slot) bool {
	return !slices.ContainsFunc(slots, func(s raidmeta.Slot) bool { return !s.Clean() })
}

// Sources divides the plexes of l into those that hold all of the data and those that lag. It uses the record, and what the
// metadata of the plexes says about each other. Plexes that take no part are in neither list. A target holds the data if the
// kernel has filled it completely, and has then dropped all others, before the end was recorded.
func Sources(l catalog.LUN, roles record.Roles, slots []raidmeta.Slot) (complete, behind []int) {
	newest := newestOf(slots)
	for i, role := range roles {
		super := slots[i].Super
		switch {
		case role.Excluded():
		case role == record.Target, super == (raidmeta.Super{}), super.RecoveryOffset != raidmeta.InSync, newest.CallsFailed(super):
			behind = append(behind, i)
		default:
			complete = append(complete, i)
		}
	}
	if len(complete) == 0 {
		complete = survivors(l, roles, slots)
		behind = slices.DeleteFunc(behind, func(i int) bool { return slices.Contains(complete, i) })
	}
	return complete, behind
}

// survivors is the targets of l that the kernel has filled completely and that have recorded the failure of all others. One of these
// may be back: the kernel was filling it from a target.
func survivors(l catalog.LUN, roles record.Roles, slots []raidmeta.Slot) []int {
	var filled []int
	newest, lost := newestOf(slots), false
	for i, role := range roles {
		super := slots[i].Super
		stale := l.Plexes[i].Stale
		switch {
		case !role.IsTarget() && !stale && newest.FailedDevices&(1<<i) == 0 && !filling(super, newest):
			return nil
		case role.IsTarget() && !stale && current(super, newest) && whole(super):
			filled = append(filled, i)
		case !role.IsTarget():
			lost = true
		}
	}
	if !lost {
		return nil
	}
	return filled
}

// filling reports whether a superblock, which is as new as the newest one, says that the kernel was filling its leg.
func filling(super, newest raidmeta.Super) bool {
	return super.Events > 0 && super.Events == newest.Events && !whole(super)
}

// current reports whether a superblock is as new as the newest one, which does not call its leg failed.
func current(super, newest raidmeta.Super) bool {
	return super.Events > 0 && super.Events == newest.Events && !newest.CallsFailed(super)
}

// newestOf is the superblock with the highest event count.
func newestOf(slots []raidmeta.Slot) raidmeta.Super {
	var newest raidmeta.Super
	for _, s := range slots {
		if s.Super.Events > newest.Events {
			newest = s.Super
		}
	}
	return newest
}

// MaybeNewer reports whether a plex whose drive is missing may be newer than the present ones: none of their superblocks says
// that it has failed. A plex that is being filled is older, unless the kernel has filled it: then it may be the only one left.
func MaybeNewer(roles record.Roles, slots []raidmeta.Slot) bool {
	newest := newestOf(slots)
	for i, role := range roles {
		complete := role == record.Missing || role == record.AbsentTarget && wasFilled(slots)
		if complete && newest.FailedDevices&(1<<i) == 0 {
			return true
		}
	}
	return false
}

// wasFilled reports whether the metadata shows that the kernel has filled all targets since plexctl wrote it. While a leg lacks
// anything, the kernel does not move the count on up to which bits are cleared (md_bitmap_endwrite). It does at a write after.
func wasFilled(slots []raidmeta.Slot) bool {
	return slices.ContainsFunc(slots, func(s raidmeta.Slot) bool { return s.Bitmap.EventsCleared > s.Bitmap.Run.Events })
}

// checkReadable refuses to start a mirror when a plex has unreadable metadata and no superblock says that the plex has failed.
// Such a plex may be newer than the others; see MaybeNewer. Damaged metadata is no reason to refuse: plexctl ignores it.
func checkReadable(l catalog.LUN, roles record.Roles, reads []Read) error {
	slots := make([]raidmeta.Slot, len(reads))
	for i, r := range reads {
		slots[i] = r.Slot
	}
	newest := newestOf(slots)
	for i, role := range roles {
		complete := role == record.Source || role == record.Target && wasFilled(slots)
		if !complete || newest.FailedDevices&(1<<i) != 0 {
			continue
		}
		err := reads[i].Err
		if !unreadable(err) && !used(slots) {
			err = reads[i].PriorErr
		}
		if unreadable(err) {
			why := record.LUNFault(vds.ErrObjectStatusFailed, "start", l.Name,
				fmt.Sprintf("the metadata of plex %s cannot be read, and it may be newer than the others", l.Plexes[i].ID),
				"see to its drive; to start without what only it has, detach the drive and run `plexctl assemble --force "+l.Name+"`")
			why.Err = err
			return why
		}
	}
	return nil
}

// unreadable reports whether err is about the drive, and not about the content of the metadata.
func unreadable(err error) bool {
	return err != nil && !errors.Is(err, raidmeta.ErrNoMagic) && !errors.Is(err, raidmeta.ErrInvalid) && !errors.Is(err, raidmeta.ErrBitmap)
}

// FromRecord is metadata for l from its record alone: the kernel copies everything, from the first plex that holds the data.
func FromRecord(l catalog.LUN, roles record.Roles) ([]raidmeta.Slot, error) {
	var from []int
	for i, role := range roles {
		if role == record.Source {
			from = append(from, i)
		}
	}
	return fromPlexes(l, from)
}

// fromPlexes is metadata for l of which these plexes hold the data. The kernel copies everything, from the first of them.
func fromPlexes(l catalog.LUN, from []int) ([]raidmeta.Slot, error) {
	plan := raidmeta.AttachPlan{ArraySize: l.Size, RegionSize: l.RegionSize, InSync: make([]bool, len(l.Plexes))}
	if len(from) == len(l.Plexes) {
		for i := range plan.InSync {
			plan.InSync[i] = true
		}
		return raidmeta.Grow(plan, 0)
	}
	if len(from) > 0 {
		plan.InSync[from[0]] = true
	}
	return raidmeta.Attach(plan)
}

// Born is the metadata of a new tracked LUN on zeroed extents: no region has ever been written.
func Born(l catalog.LUN) ([]raidmeta.Slot, error) {
	return raidmeta.Attach(raidmeta.AttachPlan{
		ArraySize: l.Size, RegionSize: l.RegionSize, InSync: []bool{true, false}, Bits: NoRegions(l),
	})
}

// Stopped is the metadata of a mirror that was stopped with all legs in sync. With it the next start copies nothing. false when
// some of the metadata is incomplete; then the next start copies the regions that may differ.
func Stopped(l catalog.LUN, roles record.Roles, slots []raidmeta.Slot) ([]raidmeta.Slot, bool) {
	if l.Tracked() {
		slots, err := raidmeta.Stopped(slots, l.RegionSize)
		return slots, err == nil
	}
	for _, i := range roles.Taking() {
		if slots[i].Super == (raidmeta.Super{}) || slots[i].Bitmap.Stale {
			return nil, false
		}
		slots[i].Bitmap.Bits = NoRegions(l)
	}
	return slots, true
}

// NoRegions is a bitmap of l without a bit.
func NoRegions(l catalog.LUN) raidmeta.Bits {
	return raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), false)
}

// AllRegions is a bitmap of l with every bit set.
func AllRegions(l catalog.LUN) raidmeta.Bits {
	return raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), true)
}
