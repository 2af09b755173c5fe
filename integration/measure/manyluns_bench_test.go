package measure

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
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// BenchmarkManyLUNs tells what commands cost on a host with many LUNs, the start of a process included, and how much memory
// each takes at most.
//
//	go test ./integration -run '^$' -bench ManyLUNs -benchtime 3x
func BenchmarkManyLUNs(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := lab.NewRig(b, 2, size.Bytes(n)*size.MiB+48*size.MiB)
			fill(r, n)
			costs := map[string]time.Duration{}
			for b.Loop() {
				timeCommand(r, costs, "assemble", "assemble")
				timeCommand(r, costs, "assemble-again", "assemble")
				timeCommand(r, costs, "status", "status")
				timeCommand(r, costs, "status-json", "status", "-o", "json")
				timeCommand(r, costs, "create", "lun", "create", "one-more", "--size", "1MiB")
				timeCommand(r, costs, "delete", "lun", "delete", "one-more", "--yes")
				timeCommand(r, costs, "deactivate", "deactivate")
			}
			for what, cost := range costs {
				b.ReportMetric(float64(cost.Microseconds())/1000/float64(b.N), "ms-"+what)
			}
			b.ReportMetric(peakMemory(r, "assemble"), "KiB-assemble")
			b.ReportMetric(peakMemory(r, "status"), "KiB-status")
		})
	}
}

// fill writes the records of n LUNs of 1 MiB to the drives, which are empty.
func fill(r *lab.Rig, n int) {
	r.T.Helper()
	const length, meta = size.MiB, size.MiB
	for i, path := range r.Drives {
		disk, err := blockdev.Host{}.Open(r.T.Context(), path, blockdev.Write)
		if err != nil {
			r.T.Fatal(err)
		}
		store, err := catalog.ReadDrive(disk, disk.Info().Size)
		if err != nil {
			r.T.Fatal(err)
		}
		var luns []catalog.LUN
		for at := catalog.FirstExtent.Sectors(); len(luns) < n/len(r.Drives); at += (length + meta).Sectors() {
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
			r.T.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			r.T.Fatal(err)
		}
	}
	r.Refresh()
}

// timeCommand runs plexctl and adds how long it took.
func timeCommand(r *lab.Rig, costs map[string]time.Duration, what string, args ...string) {
	r.T.Helper()
	start := time.Now()
	r.Run(args...)
	costs[what] += time.Since(start)
}

// peakMemory is how much memory plexctl has at most while it runs, in KiB, as seen until a moment before its end. What the
// kernel tells a parent (ru_maxrss) would include the size of this test, and busybox's time multiplies it by four.
func peakMemory(r *lab.Rig, args ...string) float64 {
	r.T.Helper()
	cmd := exec.Command("plexctl", args...)
	if err := cmd.Start(); err != nil {
		r.T.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for peak := 0.0; ; {
		select {
		case err := <-ended:
			if err != nil || peak == 0 {
				r.T.Fatalf("plexctl %v: %v, %v KiB", args, err, peak)
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
