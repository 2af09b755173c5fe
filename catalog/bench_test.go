package catalog

import (
	"fmt"
	"testing"

	"github.com/plexctl/plexctl/size"
)

// manyLUNs is n mirrored LUNs on drives 1 and 2, sorted.
func manyLUNs(n int) []LUN {
	luns := make([]LUN, n)
	for i := range luns {
		luns[i] = testLUN(i+1, 1, testPlex(2*i+1, 1, 4+9*i, 8), testPlex(2*i+2, 2, 4+9*i, 8))
		luns[i].Name = fmt.Sprintf("lun%d", i)
	}
	return luns
}

func largeLabel(n int) Label {
	l := testLabel(n)
	l.Size = size.TiB
	return l
}

func BenchmarkEncode500(b *testing.B) {
	c := Catalog{Sequence: 1, LUNs: manyLUNs(500)}
	for b.Loop() {
		data, err := encodeSlot(testLabel(1), c)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
	}
}

func BenchmarkDecode500(b *testing.B) {
	data, err := encodeSlot(testLabel(1), Catalog{Sequence: 1, LUNs: manyLUNs(500)})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		f, err := decodeSlot(driveID(1), data)
		if err != nil {
			b.Fatal(err)
		}
		luns, err := decodeBody(f.body)
		if err != nil || len(luns) != 500 {
			b.Fatal(len(luns), err)
		}
	}
}

func BenchmarkValidate500(b *testing.B) {
	c := Catalog{Sequence: 1, LUNs: manyLUNs(500)}
	for b.Loop() {
		if err := c.Validate(largeLabel(1)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMerge500(b *testing.B) {
	drives := []Drive{
		{Label: largeLabel(1), Catalog: Catalog{Sequence: 1, LUNs: manyLUNs(500)}},
		{Label: largeLabel(2), Catalog: Catalog{Sequence: 1, LUNs: manyLUNs(500)}},
	}
	for b.Loop() {
		if s := Merge(drives); len(s.LUNs) != 500 || len(s.Problems) > 0 {
			b.Fatal(len(s.LUNs), s.Problems)
		}
	}
}

func BenchmarkHeal500(b *testing.B) {
	s := Merge([]Drive{
		{Label: largeLabel(1), Catalog: Catalog{Sequence: 1, LUNs: manyLUNs(500)}},
		{Label: largeLabel(2), Catalog: Catalog{Sequence: 1, LUNs: manyLUNs(500)}},
	})
	for b.Loop() {
		if changes := s.Heal(); len(changes) > 0 {
			b.Fatal(len(changes))
		}
	}
}
