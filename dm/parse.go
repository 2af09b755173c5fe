//go:build linux

package dm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Words of a raid1 table line.
const (
	wordRaid1      = "raid1"
	wordRegionSize = "region_size"
	wordMinRate    = "min_recovery_rate"
	wordMaxRate    = "max_recovery_rate"
	wordNone       = "-"
)

// Params is "raid1 <words> 0 [region_size <n>] [min_recovery_rate <n>] [max_recovery_rate <n>] <legs> <meta> <data> …".
// <words> counts the 0, which is a chunk size that raid1 has no use for, and the options. The kernel gives the options
// back in another order.
func (r Raid1) Params() string {
	options := []string{"0"}
	for _, o := range []struct {
		word  string
		value uint64
	}{
		{wordRegionSize, uint64(r.RegionSize)},
		{wordMinRate, r.MinRate},
		{wordMaxRate, r.MaxRate},
	} {
		if o.value != 0 {
			options = append(options, o.word, strconv.FormatUint(o.value, 10))
		}
	}
	words := append([]string{wordRaid1, strconv.Itoa(len(options))}, options...)
	words = append(words, strconv.Itoa(len(r.Legs)))
	for _, leg := range r.Legs {
		words = append(words, devWord(leg.Meta), devWord(leg.Data))
	}
	return strings.Join(words, " ")
}

// devWord is a device of a leg as a table line has it.
func devWord(dev devno.No) string {
	if dev.IsZero() {
		return wordNone
	}
	return dev.String()
}

// ParseTarget decodes a target of a table line as the kernel prints it, given its Type and Params. A linear target becomes a
// Linear. A raid1 becomes a Raid1 if it has only options of Raid1, in any order. Everything else becomes an Other. It fails
// for a linear or raid1 line that no kernel prints.
func ParseTarget(typ, params string) (Target, error) {
	other := Other{Name: typ, Args: params}
	var target Target
	var err error
	switch words := strings.Fields(params); {
	case typ == Linear{}.Type():
		target, err = parseLinear(words)
	case typ == Raid1{}.Type() && len(words) > 0 && words[0] == wordRaid1:
		target, err = parseRaidTable(words[1:], other)
	default:
		return other, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s table %.200q: %w", typ, params, err)
	}
	return target, nil
}

func parseLinear(words []string) (Target, error) {
	if len(words) != 2 {
		return nil, fmt.Errorf("%d words, want a device and an offset", len(words))
	}
	dev, err := devno.Parse(words[0])
	offset, err2 := strconv.ParseUint(words[1], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return Linear{Dev: dev, Offset: size.Sectors(offset)}, nil
}

// parseRaidTable reads what follows "raid1". It gives other back for options that Raid1 does not model.
func parseRaidTable(words []string, other Other) (Target, error) {
	options, rest, err := counted(words, 1)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	legs, rest, err := counted(rest, 2)
	if err != nil {
		return nil, fmt.Errorf("legs: %w", err)
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d words behind the legs", len(rest))
	}
	r := Raid1{}
	modelled, err := r.parseOptions(options)
	if err != nil {
		return nil, err
	}
	if !modelled {
		return other, nil
	}
	if r.Legs, err = parseLegs(legs); err != nil {
		return nil, err
	}
	return r, nil
}

// counted splits words that begin with a count n into the n×each words that belong to it and the rest.
func counted(words []string, each int) (group, rest []string, err error) {
	if len(words) == 0 {
		return nil, nil, errors.New("no count")
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return nil, nil, err
	}
	end := 1 + int(n)*each
	if n == 0 || end > len(words) {
		return nil, nil, fmt.Errorf("%d words for a count of %d", len(words)-1, n)
	}
	return words[1:end], words[end:], nil
}

// parseOptions reads the chunk size and the options. It reports false for what Raid1 does not model.
func (r *Raid1) parseOptions(words []string) (modelled bool, err error) {
	fields := map[string]*uint64{
		wordRegionSize: (*uint64)(&r.RegionSize),
		wordMinRate:    &r.MinRate,
		wordMaxRate:    &r.MaxRate,
	}
	if words[0] != "0" {
		return false, nil
	}
	for words = words[1:]; len(words) > 0; words = words[2:] {
		field, ok := fields[words[0]]
		if !ok {
			return false, nil
		}
		if len(words) == 1 || *field != 0 {
			return false, fmt.Errorf("option %s without a value or twice", words[0])
		}
		if *field, err = strconv.ParseUint(words[1], 10, 63); err != nil {
			return false, err
		}
	}
	return true, nil
}

// parseLegs reads pairs of a metadata device and a data device.
func parseLegs(words []string) ([]Leg, error) {
	legs := make([]Leg, len(words)/2)
	for i := range legs {
		meta, err := parseLegDev(words[2*i])
		data, err2 := parseLegDev(words[2*i+1])
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("leg %d: %w", i, err)
		}
		legs[i] = Leg{Meta: meta, Data: data}
		if legs[i].Missing() && !meta.IsZero() {
			return nil, fmt.Errorf("leg %d: metadata without data", i)
		}
	}
	return legs, nil
}

// parseLegDev is a device number, or none for "-".
func parseLegDev(word string) (devno.No, error) {
	if word == wordNone {
		return devno.No{}, nil
	}
	return devno.Parse(word)
}
