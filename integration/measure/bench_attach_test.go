package measure

import (
	"fmt"
	"slices"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// everybody is all contenders of an attach.
func (b *bench) everybody() []contender {
	b.t.Helper()
	return slices.Concat([]contender{b.plexctl(), b.plexctlRaised()}, b.plexctlTracked(),
		[]contender{b.lvmUsual(), b.lvmTuned(), b.mdadmUsual(), b.mdadmTuned()})
}

// attachIdle measures attaches to volumes that nobody uses and of which more or less is written. What is written makes no
// difference to most, so not all settings are measured each time.
func (b *bench) attachIdle() {
	contenders := slices.Concat([]contender{b.plexctl(), b.lvmTuned(), b.mdadmUsual()}, b.plexctlTracked())
	for _, percent := range []size.Bytes{1, 5, 50} {
		b.inTurns(contenders, func(c contender, round int) { b.attachFilled(c, round, percent) })
	}
	b.inTurns(b.everybody(), func(c contender, round int) { b.attachFilled(c, round, 100) })
}

// attachLarge measures attaches to a volume so large that the copy counts and not the command, of which little is written.
func (b *bench) attachLarge() {
	contenders := append(b.plexctlTracked(), b.lvmTuned(), b.mdadmUsual(), b.mdadmTuned())
	b.inTurns(contenders, func(c contender, round int) { b.attachFilled(c, round, 5) })
}

// caseOf is how much of the volume is written, in words.
func (b *bench) caseOf(percent size.Bytes) string {
	if b.length > benchLength {
		return fmt.Sprintf("%d %% of %s written", percent, b.length)
	}
	return fmt.Sprintf("%d %% written", percent)
}

// part is so much of the volume, in whole MiB.
func (b *bench) part(percent size.Bytes) size.Bytes {
	return (b.length * percent / 100).RoundUp(size.MiB)
}

// attachFilled attaches to a volume of which the first part is written, and tells how long the command took, for how long the
// volume was suspended, how long it took until both legs were equal, and what was read and written for that.
func (b *bench) attachFilled(c contender, round int, percent size.Bytes) {
	b.t.Helper()
	b.blank()
	c.create(b.length)
	defer c.remove()
	lab.FillWith(b.t, c.path(), "written ", b.part(percent))
	probe, zeroes := b.watchWindows(c), watchZeroed(b.t)
	before := b.traffic()
	start := time.Now()
	call := timed(c.attach)
	b.awaitFilled(c)
	filled, after := time.Since(start), b.traffic()
	windows, zeroed := probe.end(), zeroes.end(b.drives[1])

	f := figure{Case: b.caseOf(percent), Subject: c.name(), Round: round}
	as := func(name string) figure { f.Figure = name; return f }
	b.tellTime(as("attach"), call)
	b.tellTime(as("redundant"), filled)
	b.tellWindows(f, windows)
	for i, name := range []string{"read-first", "written-first", "read-second", "written-second"} {
		b.tellBytes(as(name), after[i]-before[i])
	}
	b.tellBytes(as("data-second"), after[3]-before[3]-zeroed)
}

// tellWindows tells the longest of the times for which a volume was suspended, and their sum. An md device may have none.
func (b *bench) tellWindows(f figure, windows []time.Duration) {
	b.t.Helper()
	longest, sum := time.Duration(0), time.Duration(0)
	for _, w := range windows {
		longest, sum = max(longest, w), sum+w
	}
	f.Figure = "window"
	b.tellTime(f, longest)
	f.Figure = "windows"
	b.tellTime(f, sum)
}

// loadCase is how a volume is used during an attach.
type loadCase struct {
	name    string
	writers int        // of 4 KiB each, besides the one that is watched, until the mirror is filled
	percent size.Bytes // of the volume that is written, before and by the writers
	quiet   time.Duration
	limit   time.Duration // of what follows the attach; then it is estimated how long the rest takes
}

// attachUnderWriters measures attaches to volumes that are written to.
func (b *bench) attachUnderWriters() {
	for _, l := range []loadCase{
		{"one writer", 0, 100, 2 * time.Second, 0},
		{"five writers", 4, 100, 2 * time.Second, 6 * time.Second},
		{"five writers", 4, 5, 2 * time.Second, 6 * time.Second},
	} {
		b.inTurns(b.everybody(), func(c contender, round int) { b.attachLoaded(c, round, l) })
	}
}

// attachLoaded attaches to a volume that is written to, and tells for how long the watched writer waited, at most, more than in
// an equal time before that; and, if there is time for it, how long it takes until both legs are equal.
func (b *bench) attachLoaded(c contender, round int, l loadCase) {
	b.t.Helper()
	b.blank()
	c.create(b.length)
	defer c.remove()
	length := b.part(l.percent)
	lab.FillWith(b.t, c.path(), "written ", length)
	probe := b.watchWindows(c)
	others := make([]*lab.Writer, l.writers)
	for i := range others {
		others[i] = lab.StartWriter(b.t, c.path(), length)
	}
	quiet := lab.StartWriter(b.t, c.path(), length)
	time.Sleep(l.quiet)
	quiet.Stop()

	watched := lab.StartWriter(b.t, c.path(), length)
	time.Sleep(l.quiet / 10)
	start := time.Now()
	call := timed(c.attach)
	time.Sleep(l.quiet / 10)
	watched.Stop()
	filled, estimated := b.fillOrEstimate(c, start, l.limit)
	for _, o := range others {
		o.Stop()
	}
	windows := probe.end()

	f := figure{Case: fmt.Sprintf("%d %% written, %s", l.percent, l.name), Subject: c.name(), Round: round}
	as := func(name string) figure { f.Figure = name; return f }
	b.tellTime(as("attach"), call)
	b.tellWindows(f, windows)
	longest := lab.LatencyOf(watched.Waits).Max
	without := longestWithin(quiet.Waits, call+2*(l.quiet/10))
	b.tellTime(as("wait"), longest)
	b.tellTime(as("wait-without"), without)
	b.tellTime(as("stall"), max(longest-without, 0))
	if l.limit > 0 {
		f.Estimated = estimated
		b.tellTime(as("redundant"), filled)
	}
}

// longestWithin is the longest of the waits that began within the given time.
func longestWithin(waits []time.Duration, within time.Duration) time.Duration {
	longest, at := time.Duration(0), time.Duration(0)
	for _, w := range waits {
		if at > within {
			break
		}
		longest, at = max(longest, w), at+w
	}
	return longest
}

// fillOrEstimate is how long it takes from start until the mirror is filled. When that takes longer than the limit, it is
// what follows from how much is filled by then. Without a limit it is not looked at.
func (b *bench) fillOrEstimate(c contender, start time.Time, limit time.Duration) (filled time.Duration, estimated bool) {
	b.t.Helper()
	if limit == 0 {
		return 0, false
	}
	for ; ; time.Sleep(10 * time.Millisecond) {
		progress := c.progress()
		took := time.Since(start)
		switch {
		case progress == 1:
			return took, false
		case took > limit && progress > 0:
			return time.Duration(float64(took) / progress), true
		case took > lab.SyncLimit:
			b.t.Fatalf("%s: nothing is filled after %v", c.name(), took)
		}
	}
}
