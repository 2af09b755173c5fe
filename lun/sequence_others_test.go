package lun_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Disks that come and go beside the drives of a sequence. The first is another host's, and says what harms most. The second is a
// clone of a drive in use. Nothing may be written to either, and nothing here may change by them.
var otherDisks = []string{seqPath(seqDrives), seqPath(seqDrives + 1)}

// addOthers adds the other disks, which are away at first.
func (s *shelf) addOthers() {
	for _, path := range otherDisks {
		s.mem.AddDisk(blockdev.Info{Path: path, Size: driveSize})
		s.mem.Vanish(path)
	}
}

// withoutOthers is mem without the other disks.
func withoutOthers(mem *blocktest.Mem) *blocktest.Mem {
	for _, path := range otherDisks {
		mem.Vanish(path)
	}
	return mem
}

// bring plugs one of the other disks in, and returns what it holds.
func (r *rig) bring(disk int) *blocktest.Medium {
	r.mem.Return(otherDisks[disk])
	return r.media(otherDisks[disk])
}

// media is the disk at a path, which must be there.
func (r *rig) media(path string) *blocktest.Medium {
	info, err := r.mem.Stat(context.Background(), path)
	if err != nil {
		r.fail("stat: %v", err)
	}
	m, err := r.mem.Medium(info.Dev)
	if err != nil {
		r.fail("medium: %v", err)
	}
	return m
}

// plug plugs in a disk of another host. It has news of a LUN of this host, of a higher generation: the LUN is deleted, to be
// wiped, on that disk, or absorbed. It also has a LUN of the same name.
func (r *rig) plug(s seqStep) {
	if len(r.records) == 0 {
		return
	}
	m := r.bring(0)
	label := catalog.Label{Drive: uuid.UUID{0xe, 15: 1}, Size: driveSize, Host: []string{"their", ""}[s.B%2], Created: time.Unix(1700000000, 0)}
	ids := slices.SortedFunc(maps.Keys(r.records), compareUUIDs)
	l := r.records[ids[s.A%len(ids)]]
	twin := catalog.LUN{ID: uuid.UUID{0xe, 15: 2}, Name: l.Name, Size: size.MiB.Sectors(), Generation: 7}
	twin.Plexes = []catalog.Plex{plexAt(label.Drive, 0, twin.Size)}
	twin.Plexes[0].ID = uuid.UUID{0xe, 15: 3}
	news := catalog.LUN{ID: l.ID, Name: l.Name, Size: l.Size, Generation: l.Generation + 100}
	switch s.C % 4 {
	case 0:
		news.Deleted = true
	case 1:
		news = l
		news.Generation, news.Wipe, news.Operation = l.Generation+100, true, nil
	case 2:
		news.Plexes = []catalog.Plex{plexAt(label.Drive, 8, l.Size)}
		news.Plexes[0].ID = uuid.UUID{0xe, 15: 4}
	case 3:
		news = twin
		twin.ID, twin.Plexes = uuid.UUID{0xe, 15: 5}, []catalog.Plex{plexAt(label.Drive, 16, twin.Size)}
		news.Absorbed = []catalog.Tombstone{{LUN: l.ID, Generation: l.Generation + 100}}
	}
	err := catalog.Init(m, label)
	d, readErr := catalog.ReadDrive(m, driveSize)
	if err = errors.Join(err, readErr); err == nil {
		err = d.Write(m, []catalog.LUN{news, twin})
	}
	r.plugged = true
	r.note("    a disk of host %q with %s and a LUN named %s: %v", label.Host, news.Name, twin.Name, err)
}

// clone makes a clone of a drive that a LUN uses, and plugs it in.
func (r *rig) clone(s seqStep) {
	path := seqPath(s.C % seqDrives)
	if r.cloned != "" || !r.isUsed(path) {
		return
	}
	b := make([]byte, driveSize)
	_, readErr := r.media(path).ReadAt(b, 0)
	m := r.bring(1)
	_, err := m.WriteAt(b, 0)
	r.cloned = path
	r.note("    a clone of %s: %v", path, errors.Join(readErr, err, m.Sync()))
}

// isUsed reports whether a LUN uses a drive.
func (r *rig) isUsed(path string) bool {
	info, err := r.mem.Stat(context.Background(), path)
	if err != nil || r.sick[path] {
		return false
	}
	list, err := r.kernel.List(context.Background())
	if err != nil {
		return false
	}
	for _, d := range list {
		if deps, err := r.kernel.Deps(context.Background(), d.Name); err == nil && slices.Contains(deps, info.Dev) {
			return true
		}
	}
	return false
}

// unplug takes both disks away again.
func (r *rig) unplug(seqStep) {
	withoutOthers(r.mem)
	r.plugged, r.cloned = false, ""
}

// unclone takes the clone away once no LUN uses the drive any more: then it cannot be told which is which.
func (r *rig) unclone() {
	if r.cloned != "" && !r.isUsed(r.cloned) {
		r.mem.Vanish(otherDisks[1])
		r.cloned = ""
		for _, p := range r.procs {
			_ = p.provider.Refresh(context.Background()) // it may have looked in between
		}
	}
}

// leftAlone notes an effect on one of the other disks. The copy that may become the drive is the drive while that cannot be read.
func (r *rig) leftAlone(a ask) {
	if a.effect && slices.Contains(otherDisks, a.object) && r.choosing == "" {
		r.violated("%s of %s", a.kind, a.object)
	}
}

// known is results of this rig's LUNs. A LUN of another host is refused, also one that only a clone knows besides.
func (r *rig) known(results []lun.Result) []lun.Result {
	return slices.DeleteFunc(results, func(res lun.Result) bool {
		refused := errors.Is(res.Err, vds.ErrAccessDenied) || r.cloned != "" && errors.Is(res.Err, vds.ErrDiskConfigurationNotSync)
		return r.plugged && refused && r.records[res.ID].ID == uuid.Nil
	})
}

// ownPaths is the drives of the sequence that are here.
func (r *rig) ownPaths() []string {
	var paths []string
	for drive := range seqDrives {
		if path := seqPath(drive); !r.absent[path] {
			paths = append(paths, path)
		}
	}
	return paths
}
