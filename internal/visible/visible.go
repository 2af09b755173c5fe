// Package visible makes text harmless for a terminal. Devices, the kernel and other programs choose names, models, serial
// numbers and paths. Such a text may hold control characters, which a terminal obeys, or line breaks, which look like the
// output of plexctl.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line is text on one line: what a terminal would not print is escaped as in Go source. "a\nb" becomes `a\nb`.
func Line(text string) string { return escape(text, "") }

// Text is Line for text of several lines. It keeps line breaks and these sequences.
func Text(text string, keep ...string) string {
	var b strings.Builder
	for rest := text; rest != ""; {
		at, sequence := first(rest, keep)
		b.WriteString(escape(rest[:at], "\n"))
		b.WriteString(sequence)
		rest = rest[at+len(sequence):]
	}
	return b.String()
}

// first is where the first of these sequences begins in text, and which it is; the end of text when there is none.
func first(text string, sequences []string) (int, string) {
	at, found := len(text), ""
	for _, s := range sequences {
		if i := strings.Index(text, s); i >= 0 && i < at {
			at, found = i, s
		}
	}
	return at, found
}

// escape escapes what is not printable and not in but.
func escape(text, but string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r) || strings.ContainsRune(but, r):
			b.WriteRune(r)
		default:
			quoted := fmt.Sprintf("%+q", r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
