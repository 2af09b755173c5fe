package lun

import (
	"context"
	"errors"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// wipe is the step that zeroes the first and the last MiB of every plex of l, so that nobody finds a file system or a
// partition table that is not there any more. What else its plexes hold may differ: of a mirror everything is copied when it
// is started, from the first one.
func wipe(l catalog.LUN) step {
	return funcStep{text: "zero the first and the last MiB of " + l.Name, do: func(ctx context.Context, m *machine) error {
		for _, p := range l.Copies() {
			if err := m.wipe(ctx, runsOf(p.Data, l.Size)); err != nil {
				return err
			}
		}
		if len(l.Plexes) == 1 {
			return nil
		}
		return rewrite(l).run(ctx, m)
	}}
}

// wipe zeroes the first and the last MiB of a plex.
func (m *machine) wipe(ctx context.Context, runs []run) error {
	first, last := runs[0], runs[len(runs)-1]
	head := catalog.Extent{Drive: first.drive, Start: first.start, Length: min(mib, first.length)}
	tail := catalog.Extent{Drive: last.drive, Start: last.start + last.length - min(mib, last.length), Length: min(mib, last.length)}
	return errors.Join(m.zero(ctx, head), m.zero(ctx, tail))
}

// zero overwrites an extent with zeros, durably.
func (m *machine) zero(ctx context.Context, e catalog.Extent) error {
	return m.withDisk(ctx, e.Drive, func(disk blockdev.Disk) error {
		return blockdev.Zero(ctx, disk, e.Start.Bytes(), e.Length.Bytes())
	})
}

// mib is the unit of extents.
const mib = size.Sectors(size.MiB / size.Sector)
