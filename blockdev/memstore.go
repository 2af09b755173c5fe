package blockdev

import (
	"bytes"
	"maps"
)

// pageSize is the unit in which a store keeps what was written.
const pageSize = 4096

// store is the content of a drive: sparse, zero where nothing was written. Pages are never changed once they are in the
// map, only replaced, so that stores can share them.
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

func (s store) writeAt(b []byte, off int64) {
	for len(b) > 0 {
		at := off % pageSize
		n := min(int64(len(b)), pageSize-at)
		s.put(b[:n], off/pageSize, at)
		b, off = b[n:], off+n
	}
}

var zeroPage [pageSize]byte

// put writes into one page. A page that is all zero is not kept.
func (s store) put(b []byte, number, at int64) {
	old := s.pages[number]
	if (old == nil || len(b) == pageSize) && bytes.Equal(b, zeroPage[:len(b)]) {
		delete(s.pages, number)
		return
	}
	page := make([]byte, pageSize)
	if len(b) < pageSize {
		copy(page, old)
	}
	copy(page[at:], b)
	s.pages[number] = page
}
