package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// BenchmarkAttach tells how long an attach holds up a writer: the longest wait of a 4 KiB O_DIRECT write around the call,
// beside the same writer's longest wait without one, and how long the call and the copy took.
//
//	go test ./integration -run '^$' -bench Attach -benchtime 5x
func BenchmarkAttach(b *testing.B) {
	for _, load := range []struct {
		name    string
		writers int
	}{{"idle", 0}, {"load", 4}} {
		b.Run(load.name, func(b *testing.B) {
			r := newRig(b, 2, 160*size.MiB)
			var sum attachTimes
			for i := range b.N {
				sum.add(r.measureAttach(fmt.Sprintf("round%d", i), load.writers))
			}
			sum.report(b)
		})
	}
}

// attachTimes is what one attach cost.
type attachTimes struct {
	call, sync          time.Duration
	stall, stallWithout time.Duration // longest wait of the writer
}

func (a *attachTimes) add(b attachTimes) {
	a.call += b.call
	a.sync += b.sync
	a.stall += b.stall
	a.stallWithout += b.stallWithout
}

func (a *attachTimes) report(b *testing.B) {
	for unit, d := range map[string]time.Duration{
		"ms-call": a.call, "ms-to-sync": a.sync, "ms-stall": a.stall, "ms-stall-without": a.stallWithout,
	} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), unit)
	}
}

// measureAttach makes two LUNs, attaches one to the other under a writer and the given number of others, and deletes what
// it made.
func (r *rig) measureAttach(name string, writers int) attachTimes {
	r.t.Helper()
	const length = 96 * size.MiB
	target, source := r.create(name, length, 0), r.create(name+"-source", length, 1)
	device := "/dev/mapper/plex-" + name
	var others []*writer
	for range writers {
		others = append(others, startWriter(r.t, device, length))
	}
	var times attachTimes
	w := startWriter(r.t, device, length)
	time.Sleep(time.Second)
	w.stop()
	times.stallWithout = latencyOf(w.waits).max

	w = startWriter(r.t, device, length)
	time.Sleep(500 * time.Millisecond)
	start := time.Now()
	op, err := target.AddPlex(r.t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	times.call = time.Since(start)
	time.Sleep(500 * time.Millisecond)
	w.stop()
	times.stall = latencyOf(w.waits).max
	for _, o := range others {
		o.stop()
	}
	if err := op.Wait(within(r.t, syncLimit)); err != nil {
		r.t.Fatal(err)
	}
	times.sync = time.Since(start)
	if err := target.Delete(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return times
}
