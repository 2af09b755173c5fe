package dmtest

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// Position of the bitmap on a metadata device, and size of the pages in which md writes it.
const (
	bitmapStart = 4096
	bitsStart   = 256 // from bitmapStart
	bitmapPage  = 4096
)

// bitmap is md's write-intent bitmap in memory (md-bitmap.c).
type bitmap struct {
	present bool
	cleared uint64 // events_cleared
	stale   bool
	region  int64         // bytes
	set     raidmeta.Bits // bits on the disk, or about to be there
	needed  raidmeta.Bits // NEEDED_MASK: recovery and resync copy these and nothing else
	run     raidmeta.Run  // what the padding of the superblock holds
}

// openBitmap is what the constructor does with the bitmap: it makes a new one or reads the header from the first leg in
// sync (md_bitmap_create).
func (r *raid) openBitmap() error {
	r.bits = bitmap{
		present: true,
		region:  int64(r.options.region.Bytes()),
		needed:  raidmeta.NewBits(r.regions(), false),
		set:     raidmeta.NewBits(r.regions(), false),
	}
	if r.created {
		r.bits.stale, r.bits.cleared = true, r.events
		return nil
	}
	b, err := r.readBitmap()
	if err != nil {
		return err
	}
	r.bits.set = b.Bits
	r.bits.run = b.Run
	r.bits.cleared = b.EventsCleared
	if b.Stale || b.Events < r.events {
		r.bits.stale, r.bits.cleared = true, r.events
	}
	return nil
}

// readBitmap is the bitmap as the first leg in sync has it.
func (r *raid) readBitmap() (raidmeta.Bitmap, error) {
	meta := r.first().meta
	room := min(int64(bitsStart+(r.regions()+7)/8+511)&^511, meta.length()-bitmapStart)
	if room <= 0 {
		return raidmeta.Bitmap{}, refuse("raid: metadata device too small")
	}
	raw := make([]byte, room)
	if err := meta.read(raw, bitmapStart); err != nil {
		return raidmeta.Bitmap{}, errors.Join(err, &refusal{errno: unix.EIO})
	}
	b, err := raidmeta.DecodeBitmap(raw)
	switch {
	case err != nil:
		return b, refuse("raid: Failed to run raid array: %v", err)
	case b.RegionSize != r.options.region || b.ArraySize != r.length:
		return b, refuse("raid: bitmap of %d sectors in regions of %d: not simulated", b.ArraySize, b.RegionSize)
	}
	return b, nil
}

func (r *raid) regions() uint64 { return raidmeta.Regions(r.length, r.options.region) }

// loadBits is md_bitmap_load: it reads the bits again and decides which of them count.
func (r *raid) loadBits() error {
	if r.bits.stale {
		r.bits.set = raidmeta.NewBits(r.regions(), true)
	} else {
		b, err := r.readBitmap()
		if err != nil {
			return &refusal{errno: unix.EIO, log: err.Error()}
		}
		r.bits.set = b.Bits
		r.bits.run = b.Run // the kernel reads the page of the superblock again, too (md_bitmap_init_from_disk)
	}
	start := uint64(0)
	if !r.degraded() || r.bits.cleared == r.events {
		start = r.resync
	}
	for i := range r.regions() {
		if r.bits.set.Get(i) && (i+1)*sectors(r.bits.region) >= start {
			r.bits.needed.Set(i)
		}
	}
	if r.bits.stale {
		r.bits.stale = false
		return r.persistAll()
	}
	return nil
}

// mark notes that region i is about to be written, durably, on all working legs.
func (r *raid) mark(i uint64) error {
	if r.bits.set.Get(i) {
		return nil
	}
	r.bits.set.Set(i)
	return r.persistPage((bitsStart + int64(i/8)) / bitmapPage)
}

// clean is md's cleaner, after all regions have been at rest long enough: it clears the bits that no copy needs
// (md_bitmap_daemon_work).
func (r *raid) clean() error {
	if !r.bits.present || bytes.Equal(r.bits.set, r.bits.needed) {
		return nil
	}
	copy(r.bits.set, r.bits.needed)
	return r.persistAll()
}

func (r *raid) persistAll() error {
	for page := range (bitsStart + int64(len(r.bits.set)) + bitmapPage - 1) / bitmapPage {
		if err := r.persistPage(page); err != nil {
			return err
		}
	}
	return nil
}

// persistPage writes one page of the bitmap to all working legs.
func (r *raid) persistPage(page int64) error {
	image := raidmeta.Bitmap{
		Events:        r.events,
		EventsCleared: r.bits.cleared,
		ArraySize:     r.length,
		RegionSize:    size.Bytes(r.bits.region).Sectors(),
		Stale:         r.bits.stale,
		Bits:          r.bits.set,
		Run:           r.bits.run,
	}.Encode()
	for _, l := range r.legs {
		if !l.working() {
			continue
		}
		at := page * bitmapPage
		if err := writeThrough(l.meta, image[at:at+bitmapPage], bitmapStart+at); err != nil {
			if err := r.fail(l, err); err != nil {
				return err
			}
		}
	}
	return nil
}
