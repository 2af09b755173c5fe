package measure

import (
	"fmt"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
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
			r := lab.NewRig(b, 2, 160*size.MiB)
			var sum attachTimes
			for i := range b.N {
				sum.add(measureAttach(r, fmt.Sprintf("round%d", i), load.writers))
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
func measureAttach(r *lab.Rig, name string, writers int) attachTimes {
	r.T.Helper()
	const length = 96 * size.MiB
	target, source := r.Create(name, length, 0), r.Create(name+"-source", length, 1)
	device := "/dev/mapper/plex-" + name
	var others []*lab.Writer
	for range writers {
		others = append(others, lab.StartWriter(r.T, device, length))
	}
	var times attachTimes
	w := lab.StartWriter(r.T, device, length)
	time.Sleep(time.Second)
	w.Stop()
	times.stallWithout = lab.LatencyOf(w.Waits).Max

	w = lab.StartWriter(r.T, device, length)
	time.Sleep(500 * time.Millisecond)
	start := time.Now()
	op, err := target.AddPlex(r.T.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	times.call = time.Since(start)
	time.Sleep(500 * time.Millisecond)
	w.Stop()
	times.stall = lab.LatencyOf(w.Waits).Max
	for _, o := range others {
		o.Stop()
	}
	if err := op.Wait(lab.Within(r.T, lab.SyncLimit)); err != nil {
		r.T.Fatal(err)
	}
	times.sync = time.Since(start)
	if err := target.Delete(r.T.Context()); err != nil {
		r.T.Fatal(err)
	}
	return times
}
