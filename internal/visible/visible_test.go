package visible

import (
	"strings"
	"testing"
	"unicode"
)

func TestVisible(t *testing.T) {
	const red = "\x1b[31m"
	tests := map[string]struct{ line, text string }{
		"Samsung SSD 990":           {"Samsung SSD 990", "Samsung SSD 990"},
		"/srv/data \\ \"x\" é 日本":   {"/srv/data \\ \"x\" é 日本", "/srv/data \\ \"x\" é 日本"},
		"a\nb\tc\r":                 {`a\nb\tc\r`, "a\nb\\tc\\r"},
		"\x1b]0;owned\x07\x1b[2J":   {`\x1b]0;owned\a\x1b[2J`, `\x1b]0;owned\a\x1b[2J`},
		red + "x":                   {`\x1b[31mx`, red + "x"},
		"\x1b[31" + red:             {`\x1b[31\x1b[31m`, `\x1b[31` + red},
		"x\xff\xfey\u009b31m\u202e": {`x\xff\xfey\u009b31m\u202e`, `x\xff\xfey\u009b31m\u202e`},
		"\ufffd\x00\x7f":            {"\ufffd" + `\x00\x7f`, "\ufffd" + `\x00\x7f`},
		"":                          {"", ""},
	}
	for raw, want := range tests {
		if got := Line(raw); got != want.line {
			t.Errorf("line %q: %q, want %q", raw, got, want.line)
		}
		if got := Text(raw, red); got != want.text {
			t.Errorf("text %q: %q, want %q", raw, got, want.text)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x1b[2J\xff")
	f.Fuzz(func(t *testing.T, raw string) {
		got := Line(raw)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q", raw, got)
		}
		if Line(got) != got || Text(raw) != strings.ReplaceAll(Text(raw), "\x1b", "") {
			t.Errorf("%q becomes %q, then %q", raw, got, Line(got))
		}
	})
}
