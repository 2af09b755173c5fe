package size

import (
	"math"
	"strconv"
	"testing"
)

// FuzzParseExact reads what any number of bytes, and of a unit, is written as. Nothing is rounded, and what does not fit is
// refused.
func FuzzParseExact(f *testing.F) {
	for _, n := range []uint64{0, 1, 4095, 1 << 32, math.MaxInt64, 1 << 63, math.MaxUint64} {
		f.Add(n, uint8(n))
	}
	f.Fuzz(func(t *testing.T, n uint64, unit uint8) {
		if _, err := Parse(strconv.FormatUint(n, 10)); err == nil {
			t.Errorf("%d without a unit is taken", n)
		}
		shift := uint(unit%6) * 10
		fits := n <= uint64(math.MaxInt64)>>shift
		for _, suffix := range [][]string{{"B", " b"}, {"K", "KiB", "k", "KB"}, {"M", "MiB"}, {"G", " GiB"}, {"T", "TiB", "tb"}, {"P", "PiB"}}[unit%6] {
			exact(t, strconv.FormatUint(n, 10)+suffix, n<<shift, fits)
		}
	})
}

func exact(t *testing.T, text string, want uint64, fits bool) {
	t.Helper()
	got, err := Parse(text)
	if fits && (err != nil || uint64(got) != want) || !fits && (err == nil || got != 0) {
		t.Errorf("Parse(%q) = %d, %v; want %d, fits %v", text, got, err, want, fits)
	}
}
