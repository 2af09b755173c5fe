package blocktest

import (
	"bytes"
	"maps"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// pageSize is the unit in which a store keeps what was written.
const pageSize = 4096

// store is the content of a drive. It is sparse: pages that are not in the map are zero. A page in the map is never changed,
// only replaced, so that stores can share it.
type store struct {
	pages map[int64][]byte
}

func newStore() store { return store{pages: make(map[int64][]byte)} }

// clone is a store of the same content that can be written independently.
func (s store) clone() store { return store{pages: maps.Clone(s.pages)} }

func (s store) readAt(b []byte, off int64) {
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		if page, ok := s.pages[off/pageSize]; ok {
			copy(b[:n], page[at:])
		} else {
			clear(b[:n])
		}
		b, off = b[n:], off+n
	}
}

// writeAt writes b, which must not change any more: pages of it are kept.
func (s store) writeAt(b []byte, off int64) {
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		s.put(b[:n:n], off/pageSize, at)
		b, off = b[n:], off+n
	}
}

var zeroPage [pageSize]byte

// put writes into one page. A page that is all zero is not kept.
func (s store) put(b []byte, number, at int64) {
	old := s.pages[number]
	switch {
	case (old == nil || len(b) == pageSize) && bytes.Equal(b, zeroPage[:len(b)]):
		delete(s.pages, number)
	case len(b) == pageSize:
		s.pages[number] = b
	default:
		page := make([]byte, pageSize)
		copy(page, old)
		copy(page[at:], b)
		s.pages[number] = page
	}
}

// differences calls do for each run of b that differs from s. Only at the ends of b can a run have less than a whole page.
func (s store) differences(b []byte, off int64, do func(b []byte, off int64)) {
	start, length := int64(0), int64(len(b))
	for at := int64(0); at < length; {
		n := min(length-at, pageSize-(off+at)%pageSize)
		if s.holds(b[at:at+n], off+at) {
			if start < at {
				do(b[start:at], off+start)
			}
			start = at + n
		}
		at += n
	}
	if start < length {
		do(b[start:], off+start)
	}
}

// same reports whether length bytes of s are equal to those of other at an offset. All are multiples of pageSize.
func (s store) same(off int64, other store, at, length int64) bool {
	for end := off + length; off < end; off, at = off+pageSize, at+pageSize {
		page := s.pages[off/pageSize]
		if page == nil {
			page = zeroPage[:]
		}
		if !other.holds(page, at) {
			return false
		}
	}
	return true
}

// written is the numbers of the pages in a range that are not all zero, in order. off and length are multiples of pageSize.
func (s store) written(off, length int64) []int64 {
	var numbers []int64
	for number := range s.pages {
		if at := number * pageSize; at >= off && at < off+length {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// run reports whether the page at a place is all zero, and where the run of such pages ends that it is in. A run may end
// behind end.
func (s store) run(at, end size.Bytes) (zero bool, until size.Bytes) {
	number := int64(at / pageSize)
	if s.pages[number] != nil {
		for s.pages[number] != nil {
			number++
		}
		return false, size.Bytes(number) * pageSize
	}
	until = end
	for other := range s.pages {
		if other > number {
			until = min(until, size.Bytes(other)*pageSize)
		}
	}
	return true, until
}

// holds reports whether s has b there. b lies in one page.
func (s store) holds(b []byte, off int64) bool {
	page, at := s.pages[off/pageSize], off%pageSize
	if page == nil {
		page = zeroPage[:]
	}
	return bytes.Equal(b, page[at:at+int64(len(b))])
}
