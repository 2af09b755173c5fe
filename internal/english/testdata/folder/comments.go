// Package folder has comments of all kinds.
//
//	code is left out
//
// A list:
//   - one item
//     of two lines
//   - another
//
// The end of it.
package folder

// documented says
// more than one line.
//
//nolint:unused // a directive is no prose
type documented struct {
	field   int // beside a field
	another int // beside another
}

/* a block
of two lines */
