//go:build linux

package blockdev

import "unsafe"

// isAligned reports whether b starts at a multiple of Align, as O_DIRECT asks for. Empty memory is aligned.
func isAligned(b []byte) bool { return misaligned(b) == 0 }

// alignedBuffer is n bytes of memory that starts at a multiple of Align. A slice of this size is on the heap, and Go does not
// move what is there.
func alignedBuffer(n int) []byte {
	b := make([]byte, n+Align)
	skip := (Align - misaligned(b)) % Align
	return b[skip : skip+n : skip+n]
}

// misaligned is how far behind a multiple of Align b starts.
func misaligned(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align)
}
