package english

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Ratchet is how many faults each file may still have. A file that is not in it may have none.
type Ratchet map[string]int

// ParseRatchet reads what String wrote: a number and a path on each line.
func ParseRatchet(text string) (Ratchet, error) {
	r := Ratchet{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		number, path, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		n, err := strconv.Atoi(number)
		if _, twice := r[path]; !ok || err != nil || n <= 0 || twice {
			return nil, fmt.Errorf("allowed faults: line %q: not a positive number and a path that is there once", lines.Text())
		}
		r[path] = n
	}
	return r, lines.Err()
}

func (r Ratchet) String() string {
	var text strings.Builder
	for _, path := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&text, "%3d %s\n", r[path], path)
	}
	return text.String()
}

// Total is the sum of all files.
func (r Ratchet) Total() int {
	n := 0
	for _, count := range r {
		n += count
	}
	return n
}

// Differences names the files in found that have more faults than are allowed. It also names those with fewer, whose number
// has to be lowered. Files are in order.
func (r Ratchet) Differences(found Ratchet) []string {
	all := maps.Clone(r)
	maps.Copy(all, found)
	var differ []string
	for _, path := range slices.Sorted(maps.Keys(all)) {
		switch allowed, is := r[path], found[path]; {
		case is > allowed:
			differ = append(differ, fmt.Sprintf("%s: %d faults, %d allowed", path, is, allowed))
		case is < allowed:
			differ = append(differ, fmt.Sprintf("%s: only %d faults now, %d allowed; lower that with -update", path, is, allowed))
		}
	}
	return differ
}

// Renew is the ratchet for what is found. The sum may not rise; within it files may be renamed, split and joined.
func (r Ratchet) Renew(found Ratchet) (Ratchet, error) {
	if found.Total() > r.Total() {
		return r, fmt.Errorf("%d faults in all, %d allowed: the number only goes down", found.Total(), r.Total())
	}
	return maps.Clone(found), nil
}
