package dmtest

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// maxLegs is how many legs a raidmeta.Super can tell apart; the kernel takes 253.
const maxLegs = 64

// options is the parameters of a raid1 table line (dm-raid.c, parse_raid_params). Those that plexctl must never pass are
// refused, not ignored: a table that needs them is not simulated.
type options struct {
	given    []string // the words, for the table line
	nosync   bool
	rebuild  []int
	minRate  uint64
	maxRate  uint64
	region   size.Sectors
	legWords []string
}

// parseOptions reads what follows "raid" in a table line.
func parseOptions(words []string, length size.Sectors) (options, error) {
	var o options
	if len(words) < 2 || words[0] != "raid1" {
		return o, refuse("raid: Unrecognised raid_type")
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 1 || len(words) < 2+n+1 {
		return o, refuse("raid: Cannot understand number of raid parameters")
	}
	o.given, o.legWords = words[3:2+n], words[2+n+1:]
	legs, err := strconv.Atoi(words[2+n])
	if err != nil || legs < 1 || legs > maxLegs || len(o.legWords) != 2*legs {
		return o, refuse("raid: Cannot understand number of raid devices")
	}
	if err := o.parse(legs); err != nil {
		return o, err
	}
	return o, o.check(length, legs)
}

func (o *options) parse(legs int) error {
	for words := o.given; len(words) > 0; words = words[2:] {
		if words[0] == "nosync" {
			o.nosync = true
			words = append([]string{""}, words...)
			continue
		}
		if len(words) == 1 {
			return refuse("raid: Wrong number of raid parameters given")
		}
		value, err := strconv.ParseUint(words[1], 10, 31)
		if err != nil {
			return refuse("raid: Bad numerical argument given in raid params")
		}
		if err := o.set(words[0], value, legs); err != nil {
			return err
		}
	}
	return nil
}

// set takes one option with a value.
func (o *options) set(word string, value uint64, legs int) error {
	switch word {
	case "rebuild":
		if value >= uint64(legs) || slices.Contains(o.rebuild, int(value)) {
			return refuse("raid: Invalid rebuild index given")
		}
		o.rebuild = append(o.rebuild, int(value))
	case "region_size":
		if o.region != 0 {
			return refuse("raid: Only one region_size argument pair allowed")
		}
		o.region = size.Sectors(value)
	case "min_recovery_rate":
		o.minRate = value
	case "max_recovery_rate":
		o.maxRate = value
	default:
		return refuse("raid: Unable to parse RAID parameter: %s (not simulated)", word)
	}
	return nil
}

// check is what the kernel checks when all options are known (parse_raid_params, validate_region_size).
func (o *options) check(length size.Sectors, legs int) error {
	switch {
	case o.nosync && len(o.rebuild) > 0:
		return refuse("raid: sync/nosync and rebuild are mutually exclusive")
	case o.minRate > o.maxRate && o.maxRate != 0:
		return refuse("raid: Bad recovery rates")
	}
	if err := o.checkRegion(length); err != nil {
		return err
	}
	if len(o.rebuild) >= legs {
		return refuse("raid: Insufficient redundancy to activate array")
	}
	return nil
}

// checkRegion checks the region size, and chooses one where none is given (validate_region_size).
func (o *options) checkRegion(length size.Sectors) error {
	smallest := length / raidmeta.MaxRegions
	switch {
	case o.region == 0:
		for o.region = 8192; o.region < smallest; {
			o.region *= 2
		}
	case o.region > length:
		return refuse("raid: Supplied region size is too large")
	case o.region < smallest:
		return refuse("raid: Supplied region size is too small")
	case bits.OnesCount64(uint64(o.region)) != 1:
		return refuse("raid: Region size is not a power of 2")
	}
	return nil
}

// params is the table line as the kernel prints it: in its own order (dm-raid.c, raid_status).
func (o options) params() string {
	var words []string
	if o.nosync {
		words = append(words, "nosync")
	}
	for _, word := range []string{"rebuild", "min_recovery_rate", "max_recovery_rate", "region_size"} {
		for i, given := range o.given {
			if given == word {
				words = append(words, word, o.given[i+1])
			}
		}
	}
	line := append([]string{"raid1", itoa(len(words) + 1), "0"}, words...)
	line = append(line, itoa(len(o.legWords)/2))
	return strings.Join(append(line, o.legWords...), " ")
}
