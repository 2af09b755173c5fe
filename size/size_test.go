package size

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := map[string]Bytes{
		"0B":                   0,
		"4096B":                4096,
		"5B":                   5,
		"5b":                   5,
		"1K":                   KiB,
		"1k":                   KiB,
		"1KB":                  KiB,
		"1kb":                  KiB,
		"1Ki":                  KiB,
		"1KiB":                 KiB,
		"1kib":                 KiB,
		"512 MiB":              512 * MiB,
		"512 M":                512 * MiB,
		"10GiB":                10 * GiB,
		"10G":                  10 * GiB,
		"10GB":                 10 * GiB,
		"10G ":                 10 * GiB,
		" 10G":                 10 * GiB,
		"\t10 G \n":            10 * GiB,
		"1.5T":                 TiB + 512*GiB,
		"1.5TiB":               TiB + 512*GiB,
		".5G":                  512 * MiB,
		"5.G":                  5 * GiB,
		"1P":                   1024 * TiB,
		"2PB":                  2048 * TiB,
		"5E":                   5 << 60,
		"5EB":                  5 << 60,
		"0.3K":                 307,
		"0.9B":                 0,
		"1000000b":             1000000,
		"007G":                 7 * GiB,
		"9223372036854775807B": math.MaxInt64,
		"7.999E":               9222219115350168961,
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(text)
			if err != nil || got != want {
				t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{ // text to part of the error
		"":                         "not a number",
		" ":                        "not a number",
		"B":                        "not a number",
		"G":                        "not a number",
		"GiB":                      "not a number",
		"-1":                       "not a number",
		"-5G":                      "not a number",
		"+5G":                      "not a number",
		"1e3":                      "not a number",
		"0x10":                     "not a number",
		"1_000":                    "not a number",
		"1/2":                      "not a number",
		"NaN":                      "not a number",
		"Inf":                      "not a number",
		".":                        "not a number",
		"1..5G":                    "not a number",
		"1.5.5G":                   "not a number",
		"12 34":                    "not a number",
		"5GG":                      "not a number",
		"5GBB":                     "not a number",
		"5BB":                      "not a number",
		"5Bi":                      "not a number",
		"5i":                       "not a number",
		"5 G B":                    "not a number",
		"5 ib":                     "not a number",
		"5 apples":                 "not a number",
		"5\x00G":                   "not a number",
		"0":                        "has no unit; write 0MiB or 0GiB",
		"10":                       "has no unit; write 10MiB or 10GiB",
		" 1.5 ":                    "has no unit; write 1.5MiB",
		"9223372036854775807":      "has no unit",
		"1,5G":                     "comma",
		"1,000":                    "comma",
		",5":                       "comma",
		"9223372036854775808":      "out of range",
		"8E":                       "out of range",
		"8EiB":                     "out of range",
		"1Z":                       "out of range",
		"1YB":                      "out of range",
		"1Q":                       "out of range",
		strings.Repeat("9", 10000): "out of range",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(text)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%.40q) = %d, %v, want %q", text, got, err, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"10GiB", "1.5T", "-1", "1,5G", "5 m b", "\xff", "9E"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse(text)
		if err != nil && b != 0 || b > math.MaxInt64 {
			t.Errorf("Parse(%q) = %d, %v", text, b, err)
		}
	})
}

func TestRounding(t *testing.T) {
	tests := map[string]struct{ b, unit, up, down Bytes }{
		"zero":              {0, MiB, 0, 0},
		"one":               {1, MiB, MiB, 0},
		"one less":          {MiB - 1, MiB, MiB, 0},
		"exact":             {MiB, MiB, MiB, MiB},
		"one more":          {MiB + 1, MiB, 2 * MiB, MiB},
		"unit of one":       {12345, 1, 12345, 12345},
		"unit is no power":  {10, 3, 12, 9},
		"largest of 63 bit": {math.MaxInt64, MiB, 1 << 63, 1<<63 - MiB},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if up, down := tt.b.RoundUp(tt.unit), tt.b.RoundDown(tt.unit); up != tt.up || down != tt.down {
				t.Errorf("%d in units of %d: up %d, down %d, want %d, %d", tt.b, tt.unit, up, down, tt.up, tt.down)
			}
		})
	}
}

func TestRoundingProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Bytes(rapid.Uint64Range(0, math.MaxInt64).Draw(t, "b"))
		unit := Bytes(rapid.Uint64Range(1, 1<<40).Draw(t, "unit"))
		up, down := b.RoundUp(unit), b.RoundDown(unit)
		if up%unit != 0 || down%unit != 0 || down > b || up < b || b-down >= unit || up-b >= unit {
			t.Fatalf("%d in units of %d: up %d, down %d", b, unit, up, down)
		}
	})
}

func TestSectors(t *testing.T) {
	tests := map[Bytes]Sectors{0: 0, 511: 0, 512: 1, 513: 1, MiB: 2048, math.MaxUint64: 1<<55 - 1}
	for b, want := range tests {
		if got := b.Sectors(); got != want {
			t.Errorf("%d bytes: %d sectors, want %d", b, got, want)
		}
	}
	for _, s := range []Sectors{0, 1, 2048, 1 << 40, 1<<55 - 1} {
		if got := s.Bytes().Sectors(); got != s || s.Bytes() != Bytes(s)*512 {
			t.Errorf("%d sectors come back as %d", s, got)
		}
	}
}

func TestString(t *testing.T) {
	for b, want := range map[Bytes]string{
		0: "0 B", 9: "9 B", 512: "512 B", 1023: "1023 B", KiB: "1.0 KiB", KiB + 1: "1.0 KiB", 1536 * MiB: "1.5 GiB", 10 * TiB: "10 TiB",
		TiB*31/2 + 1: "15.5 TiB", 504 * MiB: "504 MiB", 2*GiB - 1: "1.99 GiB", 16*TiB - 1: "15.99 TiB", 100*GiB + 99*MiB: "100 GiB",
		999*GiB + 512*MiB: "999.5 GiB", 1321 * MiB: "1.29 GiB", GiB - 1: "1023.9 MiB", math.MaxUint64: "15.99 EiB", 5 << 60: "5.0 EiB",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d: %q, want %q", uint64(b), got, want)
		}
	}
	if got := Sectors(2048).String(); got != "1.0 MiB" {
		t.Errorf("2048 sectors: %q", got)
	}
}

// What is shown as free can be had: text that String returns, read again, is never more. Nor is much lost.
func TestStringIsNotMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Bytes(rapid.Uint64Range(0, math.MaxInt64).Draw(t, "b")) >> rapid.IntRange(0, 62).Draw(t, "shift")
		again, err := Parse(b.String())
		if err != nil || again > b || b-again > b/100+1 {
			t.Fatalf("%d is shown as %s, and read as %d, %v", b, b, again, err)
		}
	})
}
