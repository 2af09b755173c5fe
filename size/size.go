// Package size gives bytes and sectors types of their own, so that one is never taken for the other.
//
// A sector is always 512 bytes here, whatever the logical block of a drive is. The kernel counts so in every device-mapper
// table.
package size

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Bytes is a length or an offset in bytes.
type Bytes uint64

// Sectors is a length or an offset in sectors of 512 bytes.
type Sectors uint64

// Common sizes.
const (
	Sector Bytes = 512
	KiB    Bytes = 1 << 10
	MiB    Bytes = 1 << 20
	GiB    Bytes = 1 << 30
	TiB    Bytes = 1 << 40
)

// Sectors is b in whole sectors, rounded down.
func (b Bytes) Sectors() Sectors { return Sectors(b / Sector) }

// Bytes is s in bytes. It is exact for every s below 2^55, which is every size the kernel can address.
func (s Sectors) Bytes() Bytes { return Bytes(s) * Sector }

// RoundUp is the smallest multiple of unit that is not below b. unit must not be zero, and b + unit must fit 64 bits.
func (b Bytes) RoundUp(unit Bytes) Bytes { return (b + unit - 1) / unit * unit }

// RoundDown is the largest multiple of unit that is not above b. unit must not be zero.
func (b Bytes) RoundDown(unit Bytes) Bytes { return b / unit * unit }

// String is b for people, with binary prefixes: "1.5 GiB". It has at least three digits if b needs them, and is never
// more than b. So what it says is free can be had.
func (b Bytes) String() string {
	shift, prefix := 0, ""
	for _, next := range []string{"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"} {
		if b>>shift < 1024 {
			break
		}
		shift, prefix = shift+10, next
	}
	whole, rest := b>>shift, b-b>>shift<<shift
	coarse := max(0, shift-50) // so that the products below fit
	text := fmt.Sprintf("%d.%02d", whole, rest>>coarse*100>>(shift-coarse))
	if whole >= 100 {
		text = text[:len(text)-1]
	}
	text = strings.TrimRight(text, "0")
	switch {
	case whole >= 10 || shift == 0:
		text = strings.TrimSuffix(text, ".")
	case strings.HasSuffix(text, "."):
		text += "0"
	}
	return text + " " + prefix + "B"
}

// String is s for people, with binary prefixes: "1.5 GiB".
func (s Sectors) String() string { return s.Bytes().String() }

// Parse reads a size as people write it: "10GiB", "512 MiB", "1.5T", "4096B". A letter alone means the binary unit:
// K, M, G, T … are powers of 1024, as in lvm2. So do KB, MB, GB and TB. Parse drops a fraction of a byte.
//
// It fails for text that is no number, and for a number that does not fit 63 bits. It also fails for a number without a unit,
// which other tools take for MiB or for sectors. So it does for a comma: some people mean a point by it, and others separate thousands.
func Parse(text string) (Bytes, error) {
	if strings.Contains(text, ",") {
		return 0, fmt.Errorf("size %q: has a comma; write 1.5GiB", text)
	}
	whole, fraction, shift, ok := split(binaryUnit(strings.TrimSpace(text)))
	if !ok {
		return 0, fmt.Errorf("size %q: not a number with a unit such as 10GiB", text)
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if whole == "" {
		err = nil
	}
	if err != nil || shift > 62 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("size %q: out of range", text)
	}
	if number := strings.TrimSpace(text); strings.TrimRight(number, "0123456789.") == "" {
		return 0, fmt.Errorf("size %[1]q: has no unit; write %[2]sMiB or %[2]sGiB, say", text, number)
	}
	return Bytes(n<<shift + part(fraction, shift)), nil
}

// split is the digits before and behind the point of a number, and the power of two of its unit. It reports false when text is
// something else.
func split(text string) (whole, fraction string, shift int, ok bool) {
	end := len(text) - len(strings.TrimLeft(text, ".0123456789"))
	whole, fraction, _ = strings.Cut(text[:end], ".")
	unit := strings.ToLower(strings.TrimSpace(text[end:]))
	if unit != "" && unit != "b" {
		letter := strings.Index("kmgtpezyrq", unit[:1])
		shift = 10 * (letter + 1)
		ok = letter >= 0 && slices.Contains([]string{"", "i", "ib"}, unit[1:])
	} else {
		ok = true
	}
	return whole, fraction, shift, ok && whole+fraction != "" && !strings.Contains(fraction, ".")
}

// part is this many ten-thousandths, and so on, of a unit, rounded down. The first 18 digits count.
func part(fraction string, shift int) uint64 {
	fraction = fraction[:min(len(fraction), 18)]
	n, _ := strconv.ParseUint("0"+fraction, 10, 64)
	ten := uint64(1)
	for range fraction {
		ten *= 10
	}
	high, low := bits.Mul64(n, 1<<shift)
	of, _ := bits.Div64(high, low, ten)
	return of
}

// binaryUnit turns the unit letter at the end of text into its binary form: "5G" and "5GB" become "5GiB".
func binaryUnit(text string) string {
	number := strings.TrimRight(text, "Bb")
	if len(text)-len(number) > 1 || number == "" {
		return text
	}
	if strings.ContainsRune("kKmMgGtTpPeEzZyYrRqQ", rune(number[len(number)-1])) {
		return number + "iB"
	}
	return text
}
