package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
)

// runner runs jobs and keeps what came of them.
type runner struct {
	root     string        // folder of the repository
	binaries string        // folder with the test binaries
	below    string        // pattern for subtests; empty: all
	limit    time.Duration // of one job

	mu      sync.Mutex
	logs    map[string]io.Writer // by kernel
	reports map[string]*report   // by kernel
	took    times
}

// report is what came of the tests on a kernel.
type report struct {
	begun, ended time.Time
	passed       int
	failed       []string
	broken       strings.Builder
}

// build builds the test binaries of jobs.
func (r *runner) build(ctx context.Context, jobs []job) error {
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", r.binaries + "/"}
	for _, pkg := range packages {
		if slices.ContainsFunc(jobs, func(j job) bool { return slices.ContainsFunc(j.tests, func(t test) bool { return t.pkg == pkg }) }) {
			args = append(args, "./integration/"+pkg)
		}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tests: %w\n%s", err, out)
	}
	return nil
}

// binary is the test binary of a package.
func (r *runner) binary(pkg string) string { return filepath.Join(r.binaries, pkg+".test") }

// run runs all jobs, so many at a time, in their order.
func (r *runner) run(ctx context.Context, jobs []job, machines int) {
	queue := make(chan job)
	var wg sync.WaitGroup
	for range machines {
		wg.Go(func() {
			for j := range queue {
				r.do(ctx, j)
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	wg.Wait()
}

// do runs a job and adds what came of it to the report of its kernel.
func (r *runner) do(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	var text bytes.Buffer
	begun := time.Now()
	found := newResults(&text)
	var err error
	if j.tests[0].onHost() {
		err = r.onHost(ctx, j, found)
	} else {
		err = r.inGuest(ctx, j, found)
	}
	found.missing(j.tests)
	if err != nil && len(found.failed) == 0 {
		found.failed = append(found.failed, fmt.Sprintf("%s: %v", j.tests[0], err))
	}
	if err != nil {
		fmt.Fprintf(&text, "%v\n", err)
		fmt.Fprintf(&found.broken, "%v\n", err)
	}
	r.add(j, begun, &text, found)
}

// add adds the results of a job to its kernel's report.
func (r *runner) add(j job, begun time.Time, text *bytes.Buffer, found *results) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := r.reports[j.kernel]
	if report.begun.IsZero() || begun.Before(report.begun) {
		report.begun = begun
	}
	report.ended = time.Now()
	report.passed += found.passed
	report.failed = append(report.failed, found.failed...)
	report.broken.WriteString(found.broken.String())
	for name, seconds := range found.ended {
		r.took[j.kernel+" "+name] = seconds
	}
	if j.tests[0].onHost() && len(j.tests) == 1 { // what it says leaves out its parallel subtests
		r.took[j.kernel+" "+j.tests[0].String()] = time.Since(begun).Seconds()
	}
	fmt.Fprintf(r.logs[j.kernel], "# %.1f s, %.1f were expected\n", time.Since(begun).Seconds(), j.seconds)
	_, _ = text.WriteTo(r.logs[j.kernel])
}

// onHost runs tests on the host.
func (r *runner) onHost(ctx context.Context, j job, out io.Writer) error {
	pkg := j.tests[0].pkg
	fmt.Fprintf(out, "%s%s\n", packageLine, pkg)
	cmd := exec.CommandContext(ctx, r.binary(pkg), r.flags(j.tests)...)
	cmd.Dir = filepath.Join(r.root, "integration", pkg)
	cmd.Env = append(os.Environ(), vm.KernelsVar+"="+j.kernel)
	lines := &lineWriter{w: out}
	cmd.Stdout, cmd.Stderr = lines, lines
	err := cmd.Run()
	return errors.Join(err, lines.end())
}

// inGuest runs tests in a machine, one package after the other.
func (r *runner) inGuest(ctx context.Context, j job, out io.Writer) error {
	machine, err := lab.Machine().OnKernel(ctx, j.kernel)
	if err != nil {
		return err
	}
	var script strings.Builder
	script.WriteString("status=0\n")
	for _, pkg := range packages {
		var tests []test
		for _, t := range j.tests {
			if t.pkg == pkg {
				tests = append(tests, t)
			}
		}
		if len(tests) == 0 {
			continue
		}
		machine.Init = r.binary(pkg)
		machine.Files[guestBinary(pkg)] = r.binary(pkg)
		fmt.Fprintf(&script, "printf '\\026package %%s\\n' %s\n%s", pkg, guestBinary(pkg))
		for _, f := range r.flags(tests) {
			fmt.Fprintf(&script, " '%s'", f)
		}
		script.WriteString(" || status=$?\n")
	}
	script.WriteString("exit $status\n")
	machine.Output = out
	machine.Env = append(vm.GuestEnv(), machine.Env...)
	return machine.Run(ctx, "bash", "-c", script.String())
}

// guestBinary is where a guest has the tests of a package.
func guestBinary(pkg string) string { return "/usr/lib/plexctl-tests/" + pkg + ".test" }

// flags choose tests of a package.
func (r *runner) flags(tests []test) []string {
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
	}
	pattern := "^(" + strings.Join(names, "|") + ")$"
	if r.below != "" {
		pattern += "/" + r.below
	}
	return []string{
		"-test.v=test2json", "-test.count=1", "-test.timeout=" + (r.limit * 9 / 10).String(),
		"-test.run=" + pattern,
	}
}

// lineWriter passes on whole lines.
type lineWriter struct {
	w    io.Writer
	rest []byte
}

// Write takes p and passes on the lines that it completes.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if _, err := l.w.Write(l.rest[:end]); err != nil {
		return 0, err
	}
	l.rest = append([]byte(nil), l.rest[end:]...)
	return len(p), nil
}

// end passes on what has come after the last line.
func (l *lineWriter) end() error {
	if len(l.rest) == 0 {
		return nil
	}
	_, err := l.w.Write(append(l.rest, '\n'))
	return err
}
