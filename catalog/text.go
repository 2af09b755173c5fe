package catalog

import (
	"bytes"
	"errors"
)

// Limits of the JSON of a catalog, whatever it says. plexctl never comes near them. They bound the memory that a slot takes before it
// is known what its records say.
const (
	maxDepth  = 16  // objects and lists in each other
	maxString = 512 // bytes, as written
)

// checkText refuses JSON that would take much memory: too many values, too long strings, lists that no record has. It takes no
// memory itself. It does not check whether the text is JSON.
func checkText(text []byte) error {
	if bytes.Count(text, []byte{','}) > 1+len(text)/leastValue {
		return invalid("%d bytes hold too many values", len(text))
	}
	var commas [maxDepth + 1]int
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			length := stringLength(text[i:])
			if length > maxString {
				return invalid("a string of more than %d bytes", maxString)
			}
			i += length - 1
		case '{', '[':
			if depth++; depth > maxDepth {
				return invalid("more than %d levels", maxDepth)
			}
			commas[depth] = 0
		case '}', ']':
			depth = max(0, depth-1)
		case ',':
			commas[depth]++
			if most := mostValues(depth); commas[depth] >= most {
				return invalid("more than %d values in a list", most)
			}
		}
	}
	return nil
}

// stringLength is the length of the JSON string with which text begins, its quotes included. It stops behind maxString.
func stringLength(text []byte) int {
	text = text[:min(len(text), maxString+1)]
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(text)
}

// mostValues is how many values an object or a list at a depth may have. The list of records is at depth 2.
func mostValues(depth int) int {
	if depth == 2 {
		return MaxLUNs + 1 // one more is ErrFull
	}
	return MaxHistory
}

// clipped is the beginning of an error from a drive. Its text may have been as long as a catalog, and is not kept.
type clipped struct {
	text string
	kind error
}

// maxText is how much of an error from a drive is kept.
const maxText = 400

func (c clipped) Error() string { return c.text }

// Unwrap is the error of this package that it was.
func (c clipped) Unwrap() error { return c.kind }

// clip is err, or the beginning of it.
func clip(err error) error {
	if err == nil || len(err.Error()) <= maxText {
		return err
	}
	for _, kind := range []error{ErrVersion, ErrCorrupt, ErrOverlap, ErrFull, ErrInvalid} {
		if errors.Is(err, kind) {
			return clipped{err.Error()[:maxText] + "…", kind}
		}
	}
	return err // of the device
}
