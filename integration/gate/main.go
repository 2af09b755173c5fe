// Command gate runs the tests of integration/ that scripts/test.sh asks for: it chooses those of each kernel, deals them out to
// machines by the time they took before, and runs as many machines at once as the host has processors and memory for.
//
//	gate [--kernel K]... [--run REGEXP] [--harness] [--machines N] [--log DIR] [--limit TIME] [--plan] [--record]
//
// For each kernel it leaves a log, kernel-K, and a line of figures, kernel-K.result, "SECONDS PASSED FAILED", in the folder of
// logs, and prints the output of the tests that failed. The exit status says only whether it could run them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
)

func main() {
	if err := gate(); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

// timesFile has how long the tests took when that was last recorded.
const timesFile = "integration/gate/times"

// options are the flags.
type options struct {
	kernels  []string
	run      string
	machines int
	log      string
	limit    time.Duration // of one job
	harness  bool
	plan     bool
	keep     bool
}

// parse reads the flags.
func parse() options {
	var o options
	flag.Func("kernel", "a kernel to test on, as 6.1, 6.12 or 6.12+udev", func(kernel string) error {
		o.kernels = append(o.kernels, kernel)
		return nil
	})
	flag.StringVar(&o.run, "run", "", "run the tests that match on each kernel, wherever the gate runs them")
	flag.IntVar(&o.machines, "machines", machinesHere(), "machines at once")
	flag.StringVar(&o.log, "log", "bin/log", "folder for the logs")
	flag.DurationVar(&o.limit, "limit", 25*time.Minute, "time for one job")
	flag.BoolVar(&o.harness, "harness", false, "run the tests of the harness and of the simulated kernel only, whether their files have changed or not")
	flag.BoolVar(&o.plan, "plan", false, "print what would run, and how long it should take")
	flag.BoolVar(&o.keep, "record", false, "keep in the repository how long the tests took and that tests which depend on files have passed")
	flag.Parse()
	if len(o.kernels) == 0 {
		o.kernels = []string{oldKernel, plainKernel, fullKernel}
	}
	return o
}

// Memory in KiB: what a machine takes of the host's, 2 GiB of its own and QEMU's, and what is left for the tiers that run beside
// the machines.
const (
	machineMemory = 5 << 19
	hostMemory    = 3 << 20
)

// machinesHere is how many machines this host carries: three for two processors, since a machine waits for the timers of its
// kernel more than half of the time.
func machinesHere() int {
	machines := (3*runtime.NumCPU() + 1) / 2
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return machines
	}
	for line := range strings.Lines(string(text)) {
		var free int
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &free); err == nil {
			machines = min(machines, (free-hostMemory)/machineMemory)
		}
	}
	return max(machines, 1)
}

// gate does what the flags say.
func gate() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, root := parse(), lab.Root()
	tests, err := findTests(filepath.Join(root, "integration"))
	if err != nil {
		return err
	}
	known, err := readTimes(filepath.Join(root, timesFile))
	if err != nil {
		return err
	}
	byKernel, err := o.choose(root, tests)
	if err != nil {
		return err
	}
	jobs := jobsOf(byKernel, known, o.machines)
	if o.plan {
		printPlan(jobs, o.machines)
		return nil
	}
	r, err := o.execute(ctx, root, jobs)
	if err != nil {
		return err
	}
	passed, err := o.tell(r)
	if err != nil || !passed || !o.keep {
		return err
	}
	return o.record(root, r, known, tests, jobs)
}

// choose is the tests to run, by kernel.
func (o options) choose(root string, tests []test) (map[string][]test, error) {
	wanted, err := regexp.Compile(topOf(o.run))
	if err != nil {
		return nil, err
	}
	same, err := verified(root)
	if err != nil {
		return nil, err
	}
	byKernel := map[string][]test{}
	for _, t := range tests {
		switch {
		case !wanted.MatchString(t.name):
			continue
		case o.run == "" && !o.wants(t, same):
			continue
		case t.pkg == machinePackage:
			byKernel[noKernel] = append(byKernel[noKernel], t)
			continue
		}
		for _, kernel := range o.kernels {
			if o.run != "" || t.runsOn(kernel) {
				byKernel[kernel] = append(byKernel[kernel], t)
			}
		}
	}
	if len(byKernel) == 0 {
		return nil, fmt.Errorf("no test matches %s", o.run)
	}
	return byKernel, nil
}

// wants reports whether it is the time for a test. verified is the words whose tests have passed with their files.
func (o options) wants(t test, verified map[string]bool) bool {
	_, depends := watched[t.when]
	if o.harness {
		return depends
	}
	return t.when == "" || depends && !verified[t.when]
}

// topOf is the part of a pattern that chooses tests, without the one that chooses subtests.
func topOf(pattern string) string {
	top, _, _ := strings.Cut(pattern, "/")
	return top
}

// printPlan prints jobs and their time on this host's machines and on eight.
func printPlan(jobs []job, machines int) {
	sum := 0.0
	for _, j := range jobs {
		sum += j.seconds
		fmt.Printf("%6.0f s  %-10s", j.seconds, j.kernel)
		for _, t := range j.tests {
			fmt.Print(" ", t)
		}
		fmt.Println()
	}
	fmt.Printf("%d jobs, %.0f s; %.0f s on %d machines, %.0f s on 8\n", len(jobs), sum, makespan(jobs, machines), machines, makespan(jobs, 8))
}

// execute builds the tests and runs the jobs.
func (o options) execute(ctx context.Context, root string, jobs []job) (*runner, error) {
	if err := errors.Join(os.MkdirAll(o.log, 0o755), lab.ProvideCommand(filepath.Join(root, "bin", "tests"))); err != nil {
		return nil, err
	}
	_, below, _ := strings.Cut(o.run, "/")
	r := &runner{
		root: root, binaries: filepath.Join(root, "bin", "tests"), below: below, limit: o.limit,
		logs: map[string]io.Writer{}, reports: map[string]*report{}, took: times{},
	}
	if err := r.build(ctx, jobs); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if r.logs[j.kernel] != nil {
			continue
		}
		log, err := os.Create(filepath.Join(o.log, rowOf(j.kernel)))
		if err != nil {
			return nil, err
		}
		defer func() { _ = log.Close() }() // a log that is cut short shows
		r.logs[j.kernel], r.reports[j.kernel] = log, &report{}
	}
	r.run(ctx, jobs, o.machines)
	return r, nil
}

// rowOf is what scripts/test.sh calls the tests on a kernel.
func rowOf(kernel string) string {
	if kernel == noKernel {
		return "machine"
	}
	return "kernel-" + kernel
}

// processorTime is what everything that the gate started and that has ended has taken of the processors. Seconds of a test depend on
// what else the host does; these depend less.
func processorTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &used); err != nil {
		panic(err) // both arguments are right
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// tell leaves the figures of each kernel, and prints what the failed tests printed. It reports whether all passed.
func (o options) tell(r *runner) (bool, error) {
	passed := true
	fmt.Printf("%.0f s of processor time\n", processorTime().Seconds())
	for _, kernel := range slices.Sorted(maps.Keys(r.reports)) {
		all := r.reports[kernel]
		figures := fmt.Sprintf("%.1f %d %d\n", all.ended.Sub(all.begun).Seconds(), all.passed, len(all.failed))
		if err := os.WriteFile(filepath.Join(o.log, rowOf(kernel)+".result"), []byte(figures), 0o644); err != nil {
			return false, err
		}
		if len(all.failed) > 0 {
			passed = false
			fmt.Printf("%s\nfailed on %s:\n\t%s\n", &all.broken, kernel, strings.Join(all.failed, "\n\t"))
		}
	}
	return passed, nil
}

// record keeps for the next run how long the tests took, and which tests that depend on files have passed: now, or before with the
// same files.
func (o options) record(root string, r *runner, known times, tests []test, jobs []job) error {
	maps.Copy(known, r.took)
	if err := known.only(tests).write(filepath.Join(root, timesFile)); err != nil {
		return err
	}
	ran := map[test]bool{}
	for _, j := range jobs {
		for _, t := range j.tests {
			ran[t] = true
		}
	}
	same, err := verified(root)
	if err != nil {
		return err
	}
	var words []string
	for _, word := range slices.Sorted(maps.Keys(watched)) {
		missed := slices.ContainsFunc(tests, func(t test) bool { return t.when == word && !ran[t] })
		if !missed || same[word] {
			words = append(words, word)
		}
	}
	return noteVerified(root, words)
}
