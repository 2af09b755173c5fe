package lun_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// state is how kernel and drives stand, for whoever looks into a failure.
func (r *rig) state() []string {
	var lines []string
	drives := r.mem.Cut(blocktest.Kept)
	for away := range r.absent {
		drives.Return(away)
	}
	for _, id := range slices.SortedFunc(maps.Keys(r.records), compareUUIDs) {
		l := r.records[id]
		name := "plex-" + l.Name
		status, _ := r.kernel.Status(context.Background(), name)
		table, _ := r.kernel.Table(context.Background(), name)
		lines = append(lines, fmt.Sprintf("%s generation %d, under %+v, last %+v\n  %v %v", l.Name, l.Generation, l.Operation, l.Last, table, status.Targets))
		for _, p := range l.Plexes {
			lines = append(lines, fmt.Sprintf("  %s on %s, stale %v, slot %s in force", p.ID, r.paths[p.Meta.Drive], p.Stale, p.Slot))
			lines = append(lines, r.slots(drives, p)...)
		}
	}
	for n := range seqDrives {
		line := seqPath(n) + " has"
		for _, l := range (&image{rig: r, drive: seqPath(n)}).recordsOf(drives) {
			line += fmt.Sprintf(" %s@%d on %d plexes, deleted %v, behind %d, absorbed %v;", l.Name, l.Generation, len(l.Plexes), l.Deleted, l.Behind, l.Absorbed)
		}
		lines = append(lines, line)
	}
	return lines
}

// slots is what the metadata slots of a plex hold.
func (r *rig) slots(drives *blocktest.Mem, p catalog.Plex) []string {
	disk, err := drives.Open(context.Background(), r.paths[p.Meta.Drive], blockdev.Read)
	if err != nil {
		return []string{err.Error()}
	}
	defer disk.Close()
	var lines []string
	for i := range int64(2) {
		b := make([]byte, 12*size.KiB)
		_, err := disk.ReadAt(b, int64(p.Meta.Start.Bytes()+size.Bytes(i)*raidmeta.SlotSize))
		slot, decodeErr := raidmeta.DecodeSlot(b)
		lines = append(lines, fmt.Sprintf("    slot %c: %+v %v", 'a'+rune(i), slot, errors.Join(err, decodeErr)))
	}
	return lines
}
