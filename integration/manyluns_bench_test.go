package integration

import (
	"fmt"
	"os"
	"os/exec"
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

// peakMemory is how much memory plexctl has at most while it runs, in KiB, as seen until a moment before its end. What the
// kernel tells a parent (ru_maxrss) would include the size of this test, and busybox's time multiplies it by four.
func (r *rig) peakMemory(args ...string) float64 {
	r.t.Helper()
	cmd := exec.Command("plexctl", args...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for peak := 0.0; ; {
		select {
		case err := <-ended:
			if err != nil || peak == 0 {
				r.t.Fatalf("plexctl %v: %v, %v KiB", args, err, peak)
			}
			return peak
		case <-time.After(500 * time.Microsecond):
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // of one that has ended, nothing
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		if fields := strings.Fields(rest); len(fields) > 0 && strings.Contains(string(status), "Name:\tplexctl\n") {
			peak, _ = strconv.ParseFloat(fields[0], 64)
		}
	}
}
