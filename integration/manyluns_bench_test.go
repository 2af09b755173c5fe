package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// BenchmarkManyLUNs tells what commands cost on a host with many LUNs, the start of a process included, and how much memory
// each takes at most.
//
//	go test ./integration -run '^$' -bench ManyLUNs -benchtime 3x
func BenchmarkManyLUNs(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := newRig(b, 2, size.Bytes(n)*size.MiB+48*size.MiB)
			r.fill(n)
			costs := map[string]time.Duration{}
			for b.Loop() {
				r.time(costs, "assemble", "assemble")
				r.time(costs, "assemble-again", "assemble")
				r.time(costs, "status", "status")
				r.time(costs, "status-json", "status", "-o", "json")
				r.time(costs, "create", "lun", "create", "one-more", "--size", "1MiB")
				r.time(costs, "delete", "lun", "delete", "one-more", "--yes")
				r.time(costs, "deactivate", "deactivate")
			}
			for what, cost := range costs {
				b.ReportMetric(float64(cost.Microseconds())/1000/float64(b.N), "ms-"+what)
			}
			b.ReportMetric(r.peakMemory("assemble"), "KiB-assemble")
			b.ReportMetric(r.peakMemory("status"), "KiB-status")
		})
	}
}

// fill writes the records of n LUNs of 1 MiB to the drives, which are empty.
func (r *rig) fill(n int) {
	r.t.Helper()
	const length, meta = size.MiB, size.MiB
	for i, path := range r.drives {
		disk, err := blockdev.Host{}.Open(r.t.Context(), path, blockdev.Write)
		if err != nil {
			r.t.Fatal(err)
		}
		store, err := catalog.ReadDrive(disk, disk.Info().Size)
		if err != nil {
			r.t.Fatal(err)
		}
		var luns []catalog.LUN
		for at := catalog.FirstExtent.Sectors(); len(luns) < n/len(r.drives); at += (length + meta).Sectors() {
			drive := store.Label.Drive
			luns = append(luns, catalog.LUN{
				ID: uuid.New(), Name: fmt.Sprintf("lun%d-%d", i, len(luns)), Size: length.Sectors(), Generation: 1,
				Plexes: []catalog.Plex{{
					ID: uuid.New(), Slot: catalog.SlotA,
					Meta: catalog.Extent{Drive: drive, Start: at, Length: meta.Sectors()},
					Data: []catalog.Extent{{Drive: drive, Start: at + meta.Sectors(), Length: length.Sectors()}},
				}},
			})
		}
		if err := store.Write(disk, luns); err != nil {
			r.t.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.refresh()
}

// time runs plexctl and adds how long it took.
func (r *rig) time(costs map[string]time.Duration, what string, args ...string) {
	r.t.Helper()
	start := time.Now()
	r.run(args...)
	costs[what] += time.Since(start)
}

// peakMemory is how much memory plexctl has at most while it runs, in KiB.
func (r *rig) peakMemory(args ...string) float64 {
	r.t.Helper()
	// A process that the test starts counts as large as the test itself: another one has to start it.
	out := runTool(r.t, "busybox", append([]string{"time", "-v", "plexctl"}, args...)...)
	_, rest, _ := strings.Cut(out, "Maximum resident set size (kbytes): ")
	line, _, _ := strings.Cut(rest, "\n")
	peak, err := strconv.ParseFloat(line, 64)
	if err != nil {
		r.t.Fatalf("time -v: %v\n%s", err, out)
	}
	return peak
}
