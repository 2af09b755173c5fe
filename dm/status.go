//go:build linux

package dm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/size"
)

// maxLegs is the kernel's limit (drivers/md/dm-raid.c, MAX_RAID_DEVICES).
const maxLegs = 253

// Positions of the fields of a raid status line. Versions of the target added fields at the end: 1.5.0 the action and the
// mismatches, 1.9.0 the data offset, 1.10.0 the journal (Documentation/admin-guide/device-mapper/dm-raid.rst).
const (
	fieldLevel = iota
	fieldLegs
	fieldHealth
	fieldRatio
	fieldAction
	fieldMismatches
	fieldDataOffset
)

// ParseRaidStatus decodes a status line of a raid1 device, which is in the field Line of TargetStatus:
//
//	raid1 2 Aa 4096/65536 recover 0 0 -
//
// There are as many legs as health letters; the number before them differs in some states. Raid targets before 1.5.0 print
// no action: it becomes ActionUndef. Fields that later kernels may append are ignored. It fails for a line that no kernel
// prints: another raid level, an unknown letter or action, or more done than there is to do.
func ParseRaidStatus(line string) (RaidStatus, error) {
	s, err := parseRaidStatus(strings.Fields(line))
	if err != nil {
		return RaidStatus{}, fmt.Errorf("raid status %.200q: %w", line, err)
	}
	return s, nil
}

func parseRaidStatus(fields []string) (RaidStatus, error) {
	if len(fields) <= fieldRatio || len(fields) == fieldMismatches {
		return RaidStatus{}, fmt.Errorf("%d fields", len(fields))
	}
	if fields[fieldLevel] != "raid1" {
		return RaidStatus{}, fmt.Errorf("level %q", fields[fieldLevel])
	}
	if _, err := strconv.ParseUint(fields[fieldLegs], 10, 16); err != nil {
		return RaidStatus{}, fmt.Errorf("number of legs: %w", err)
	}
	s := RaidStatus{Action: ActionUndef}
	err := errors.Join(s.parseHealth(fields[fieldHealth]), s.parseRatio(fields[fieldRatio]))
	if len(fields) > fieldMismatches {
		err = errors.Join(err, s.parseAction(fields[fieldAction]), s.parseMismatches(fields[fieldMismatches]))
	}
	if len(fields) > fieldDataOffset && fields[fieldDataOffset] != "0" {
		err = errors.Join(err, fmt.Errorf("data offset %q", fields[fieldDataOffset]))
	}
	return s, err
}

func (s *RaidStatus) parseHealth(text string) error {
	if len(text) > maxLegs {
		return fmt.Errorf("health of %d legs", len(text))
	}
	for _, b := range []byte(text) {
		leg := LegHealth(b)
		if leg != LegInSync && leg != LegSyncing && leg != LegFailed && leg != LegMissing {
			return fmt.Errorf("health letter %q", b)
		}
		s.Health = append(s.Health, leg)
	}
	return nil
}

func (s *RaidStatus) parseRatio(text string) error {
	a, b, _ := strings.Cut(text, "/")
	done, errDone := strconv.ParseUint(a, 10, 64)
	total, errTotal := strconv.ParseUint(b, 10, 64)
	if err := errors.Join(errDone, errTotal); err != nil {
		return fmt.Errorf("ratio: %w", err)
	}
	if total == 0 || done > total {
		return fmt.Errorf("ratio %s", text)
	}
	s.Done, s.Total = size.Sectors(done), size.Sectors(total)
	return nil
}

func (s *RaidStatus) parseAction(text string) error {
	known := []Action{
		ActionIdle, ActionFrozen, ActionResync, ActionRecover, ActionCheck, ActionRepair, ActionReshape, ActionUndef,
	}
	if !slices.Contains(known, Action(text)) {
		return fmt.Errorf("action %q", text)
	}
	s.Action = Action(text)
	return nil
}

func (s *RaidStatus) parseMismatches(text string) (err error) {
	s.Mismatches, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("mismatches: %w", err)
	}
	return nil
}
