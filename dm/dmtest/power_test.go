package dmtest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// place says where a leg's data and metadata lie.
type place struct {
	data, meta string
	at         size.Sectors // of the metadata
}

// part is a run of a drive that passes for a drive.
type part struct {
	*memDisk
	offset int64
}

func (p part) ReadAt(b []byte, off int64) (int, error)  { return p.memDisk.ReadAt(b, p.offset+off) }
func (p part) WriteAt(b []byte, off int64) (int, error) { return p.memDisk.WriteAt(b, p.offset+off) }

// newDrives is a machine with the drives of places, each large enough for data and metadata.
func newDrives(places []place) *blocktest.Mem {
	mem := blocktest.New()
	for _, path := range []string{places[0].data, places[1].data, "/dev/other"} {
		mem.AddDisk(blockdev.Info{Path: path, Size: (arraySects + 2*metaSects).Bytes()})
	}
	return mem
}

// boot is the machine with these drives just after a boot: private devices, and an array without a table.
func boot(t *testing.T, mem *blocktest.Mem, release Release, places []place) *rig {
	t.Helper()
	lab := &memLab{mem: mem, kernel: New(mem, release), release: release, t: t}
	b := &bench{TB: t, lab: lab, k: lab.kernel, ctx: context.Background()}
	r := &rig{legs: &legs{bench: b}, mem: mem, kernel: lab.kernel}
	for _, p := range places {
		data, meta := lab.diskAt(t, p.data), lab.diskAt(t, p.meta)
		dataName := b.device(linearOn(data.Dev(), 0, arraySects))
		metaName := b.device(linearOn(meta.Dev(), p.at, metaSects))
		r.data = append(r.data, data)
		r.meta = append(r.meta, part{meta, int64(p.at.Bytes())})
		r.table = append(r.table, dm.Leg{Meta: b.info(metaName).Dev, Data: b.info(dataName).Dev})
	}
	r.name = b.create()
	return r
}

// together is how plexctl lays a plex on one drive out.
var together = []place{{"/dev/leg0", "/dev/leg0", arraySects}, {"/dev/leg1", "/dev/leg1", arraySects}}

// TestPowerCut cuts the power while regions are being written and copied. With the metadata that raidmeta makes for the
// restart the legs are equal in the end, and every flushed write is there.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 0))
		release := []Release{Linux6_1, Linux6_12}[random.IntN(2)]
		r := boot(t, newDrives(together), release, together)
		r.fill(r.data[0], 'A', 0, int64(arraySects.Bytes()))
		r.prepare([]bool{true, false}, nil)
		r.swap(r.name, r.raid())
		if random.IntN(2) == 0 {
			r.must(r.kernel.RunToEnd())
		}
		flushed := r.live(random)
		fate := []blocktest.Fate{blocktest.Torn(random), blocktest.Reordered(random)}[random.IntN(2)]
		after := boot(t, r.mem.Cut(fate), release, together)
		after.restart()
		if got := after.line(after.name); got != rested("AA") {
			t.Fatalf("seed %d: status = %q", seed, got)
		}
		first, second := after.content(0), after.content(1)
		if first != second || after.differ() {
			t.Fatalf("seed %d: the legs differ:\n%s\n%s", seed, first, second)
		}
		for region, letter := range flushed {
			b := make([]byte, 4096)
			_, err := after.data[0].ReadAt(b, int64(region)*regionBytes)
			after.must(err)
			if b[0] != letter {
				t.Errorf("seed %d: region %d begins with %q, flushed was %q", seed, region, b[0], letter)
			}
		}
	}
}

// live uses the array for a while. It returns, by region, what was flushed and not written over since.
func (r *rig) live(random *rand.Rand) map[uint64]byte {
	flushed, written := map[uint64]byte{}, map[uint64]byte{}
	for range random.IntN(16) {
		switch random.IntN(5) {
		case 0:
			r.must(r.kernel.Tick(random.IntN(20)))
		case 1:
			r.must(r.kernel.Age())
		case 2:
			r.must(r.kernel.Flush(r.ctx, r.name))
			for region, letter := range written {
				flushed[region] = letter
			}
		default:
			region, letter := random.Uint64N(regionCount), byte('a'+random.IntN(26))
			r.must(r.kernel.WriteAt(r.ctx, r.name, bytes.Repeat([]byte{letter}, 4096), int64(region)*regionBytes))
			written[region] = letter
			delete(flushed, region)
		}
	}
	return flushed
}

// restart readies the metadata after a power cut, as plexctl does, and lets the kernel do the rest.
func (r *rig) restart() {
	r.Helper()
	slots := r.slots()
	ready, err := raidmeta.Resync(slots, regionSects)
	if err != nil {
		ready, err = raidmeta.Returned(slots, regionSects, []int{1})
	}
	r.must(err)
	r.write(ready)
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
}

// differ reports whether the legs differ.
func (r *rig) differ() bool {
	legs := [2][]byte{make([]byte, arraySects.Bytes()), make([]byte, arraySects.Bytes())}
	for i := range legs {
		_, err := r.data[i].ReadAt(legs[i], 0)
		r.must(err)
	}
	return !bytes.Equal(legs[0], legs[1])
}

// TestPowerCutWithoutOwnMark is what lvm2 and a plain load make of the same cut: legs that differ, called equal.
func TestPowerCutWithoutOwnMark(t *testing.T) {
	r := boot(t, newDrives(together), Linux6_12, together)
	r.prepare([]bool{true, true}, bitsOf())
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	r.must(r.kernel.WriteAt(r.ctx, r.name, bytes.Repeat([]byte{'w'}, 4096), 0))
	onlyFirst := func(cache []blocktest.Unflushed) []blocktest.Unflushed {
		return slices.DeleteFunc(slices.Clone(cache), func(w blocktest.Unflushed) bool { return w.Path != "/dev/leg0" })
	}
	after := boot(t, r.mem.Cut(onlyFirst), Linux6_12, together)
	after.swap(after.name, after.raid())
	after.must(after.kernel.RunToEnd())
	after.same("status", rested("AA"), after.line(after.name))
	if !after.differ() {
		t.Error("the legs are equal")
	}
	after.must(after.k.Remove(after.ctx, after.name))

	again := boot(t, r.mem.Cut(onlyFirst), Linux6_12, together)
	again.restart()
	if again.differ() {
		t.Error("the legs differ in spite of the mark")
	}
}

// TestMetadataOnAnotherDrive shows what the kernel's order of writes does not cover. It flushes the drive under the
// metadata before it notes that a region is copied; data on another drive may be lost after that.
func TestMetadataOnAnotherDrive(t *testing.T) {
	apart := []place{{"/dev/leg0", "/dev/other", 0}, {"/dev/leg1", "/dev/other", metaSects}}
	r := boot(t, newDrives(apart), Linux6_12, apart)
	r.fill(r.data[0], 'A', 0, int64(arraySects.Bytes()))
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	r.must(r.kernel.Age())
	after := boot(t, r.mem.Cut(blocktest.Lost), Linux6_12, apart)
	after.restart()
	if got := after.content(1); !strings.Contains(got, ".") {
		t.Errorf("leg 1 = %s, want it to lack what the cut took", got)
	}
}
