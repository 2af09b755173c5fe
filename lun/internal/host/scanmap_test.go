package host

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// mapped is a LUN of n regions that is scanned.
func mapped(n int) catalog.LUN {
	return catalog.LUN{
		Scan: uuid.MustParse("5ca90000-0000-4000-8000-000000000001"),
		Size: size.Sectors(n)*mib - mib/2, RegionSize: mib,
	}
}

// A map returns the bits that were written. If it cannot be trusted, all regions are left.
func TestScanMap(t *testing.T) {
	for _, n := range []int{1, 8, 9, 8 * mapBits, 8*mapBits + 1, raidmeta.MaxRegions} {
		l := mapped(n)
		bits, all := raidmeta.NewBits(uint64(n), true), raidmeta.NewBits(uint64(n), true)
		for i := 0; i < n; i += 3 {
			bits.Clear(uint64(i))
		}
		image := encodeMap(l, bits)
		if len(image) != mapLength(l) || len(image) > int(raidmeta.SlotSize) {
			t.Errorf("%d regions: %d bytes", n, len(image))
		}
		if got, ok := decodeMap(l, image); !ok || !bytes.Equal(got, bits) {
			t.Errorf("%d regions: another map", n)
		}
		other := l
		other.Scan = uuid.New()
		if _, ok := decodeMap(other, image); ok {
			t.Errorf("%d regions: the map of another scan is believed", n)
		}
		if _, ok := decodeMap(l, image[:len(image)-1]); ok {
			t.Errorf("%d regions: half a map is believed", n)
		}
		damaged := bytes.Clone(image)
		damaged[len(damaged)-mapBlock] ^= 1
		got, ok := decodeMap(l, damaged)
		last := (len(image)/mapBlock - 2) * mapBits
		if want := append(bytes.Clone(bits[:last]), all[last:]...); !ok || !bytes.Equal(got, want) {
			t.Errorf("%d regions: damaged, and believed: %s", n, cmp.Diff(raidmeta.Bits(want), got))
		}
	}
}

// FuzzScanMap decodes what a drive may hold. No region is out of the set unless a block with a good sum says so.
func FuzzScanMap(f *testing.F) {
	l := mapped(20)
	f.Add(encodeMap(l, raidmeta.NewBits(20, false)))
	f.Add(make([]byte, 2*mapBlock))
	f.Fuzz(func(t *testing.T, b []byte) {
		bits, ok := decodeMap(l, b)
		if !ok {
			return
		}
		if again, ok := decodeMap(l, encodeMap(l, bits)); !ok || !bytes.Equal(again, bits) {
			t.Errorf("%x is read as %x", bits, again)
		}
	})
}
