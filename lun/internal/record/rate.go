package record

import (
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Unlimited and Paused are the two ends of a rate.
const (
	Unlimited size.Bytes = 0 // as fast as the drives are
	Paused    size.Bytes = 1 // some 20 KiB a second, until the rate is set again
)

// PausedKiB stands for Paused in a record and in the kernel's table.
const PausedKiB = 1

// maxRate is the highest limit: in the kernel a rate is a signed 32-bit number of KiB.
const maxRate = 1 * size.TiB

// RateKiB is a rate in the unit of records. vds.ErrInvalidArg when it is out of range.
func RateKiB(rate size.Bytes) (uint64, error) {
	switch {
	case rate == Unlimited:
		return 0, nil
	case rate == Paused:
		return PausedKiB, nil
	case rate < size.KiB || rate > maxRate:
		return 0, Fault(vds.ErrInvalidArg, "limit to", rate.String()+" a second",
			"a rate is at least 1 KiB and at most "+maxRate.String()+" a second", "")
	default:
		return max(PausedKiB+1, uint64(rate/size.KiB)), nil
	}
}

// RateOf is the limit of l's operation per second.
func RateOf(l catalog.LUN) size.Bytes {
	if l.MaxRate == PausedKiB {
		return Paused
	}
	return size.Bytes(l.MaxRate) * size.KiB
}

// RateText describes the speed of l's operation.
func RateText(l catalog.LUN) string {
	switch {
	case l.Operation != nil && l.Operation.Queued:
		return "after others"
	case l.MaxRate == 0:
		return "at full speed"
	case l.MaxRate == PausedKiB:
		return "nothing for now"
	default:
		return "at most " + RateOf(l).String() + " a second"
	}
}
