package resync

import (
	"time"

	"github.com/plexctl/plexctl/size"
)

// How often the monitor looks at an operation, and how long an operation may be idle.
const (
	minInterval = 50 * time.Millisecond
	maxInterval = 2 * time.Second
	// idleLimit is how long an operation may be idle without being complete. The kernel needs up to a second to start
	// or to write the last superblocks. A recovery that the kernel has aborted, at an unreadable source sector, stays idle.
	idleLimit = 10 * time.Second
	// rateWindow is the time over which the rate is measured. The kernel reports progress in steps of up to 5 s.
	rateWindow = 15 * time.Second
)

// interval returns how long to wait before the next look: short at first, at most maxInterval later, short again near the
// end. The operation has been watched for age and ends in about eta, which is 0 while unknown.
func interval(age, eta time.Duration) time.Duration {
	next := max(minInterval, age/4)
	if eta > 0 {
		next = min(next, max(minInterval, eta/2))
	}
	return min(next, maxInterval)
}

// sample is a position at a time.
type sample struct {
	at   time.Time
	done size.Sectors
}

// pace measures how fast an operation advances.
type pace struct {
	samples []sample // oldest first, within rateWindow
}

// add takes the position that a look has found. It keeps only an advance: the kernel reports progress in coarse steps, and
// equal positions would look like a copy that has stopped.
func (p *pace) add(at time.Time, done size.Sectors) {
	if n := len(p.samples); n > 0 && done <= p.samples[n-1].done {
		return
	}
	p.samples = append(p.samples, sample{at, done})
	for len(p.samples) > 2 && at.Sub(p.samples[0].at) > rateWindow {
		p.samples = p.samples[1:]
	}
}

// rate returns bytes per second, 0 while unknown.
func (p *pace) rate(now time.Time) size.Bytes {
	if len(p.samples) < 2 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	elapsed := max(now.Sub(first.at)-maxInterval, last.at.Sub(first.at)).Seconds()
	if elapsed <= 0 {
		return 0
	}
	return size.Bytes(float64((last.done - first.done).Bytes()) / elapsed)
}

// eta returns how long the rest takes at rate, 0 while unknown.
func eta(left size.Sectors, rate size.Bytes) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(left.Bytes()) / float64(rate) * float64(time.Second))
}
