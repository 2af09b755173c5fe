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

// PausedKiB is how a record, and the kernel's table, say Paused.
const PausedKiB = 1

// maxRate is the highest limit there is: rates are signed 32-bit numbers of KiB in the kernel.
const maxRate = 1 * size.TiB

// RateKiB is a rate as records have it. vds.ErrInvalidArg for one that is out of range.
func RateKiB(rate size.Bytes) (uint64, error) {
	switch {
	case rate == Unlimited:
		return 0, nil
	case rate == Paused:
		return PausedKiB, nil
	case rate < size.KiB || rate > maxRate:
		return 0, &vds.Error{
			Code: vds.ErrInvalidArg, Op: "limit to", Object: rate.String() + " a second",
			Reason: "a rate is at least 1 KiB and at most " + maxRate.String() + " a second",
		}
	default:
		return max(PausedKiB+1, uint64(rate/size.KiB)), nil
	}
}

// RateOf is the limit of l's operation, a second.
func RateOf(l catalog.LUN) size.Bytes {
	if l.MaxRate == PausedKiB {
		return Paused
	}
	return size.Bytes(l.MaxRate) * size.KiB
}

// RateText says how fast l's operation copies.
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
