// The command that makes docs/performance.md and its charts of the figures that scripts/bench.sh has measured. It is a module of
// its own, so that what draws charts is no dependency of plexctl.
//
//	go run -C bench . --out ../docs ../bin/bench/*.json
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", ".", "`folder` that takes performance.md and its charts")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run writes the report of the figures in the named files.
func run(out string, files []string) error {
	var all []figure
	for _, name := range files {
		figures, err := readFile(name)
		if err != nil {
			return err
		}
		all = append(all, figures...)
	}
	r := reportOf(all)
	page, err := r.markdown()
	if err != nil {
		return err
	}
	if err := removeCharts(out); err != nil {
		return err
	}
	for _, c := range r.charts() {
		svg, err := c.svg()
		if err != nil {
			return fmt.Errorf("chart %s: %w", c.file, err)
		}
		if err := os.WriteFile(filepath.Join(out, c.file), svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(out, "performance.md"), page, 0o644)
}

// removeCharts removes the charts of an earlier report.
func removeCharts(out string) error {
	old, err := filepath.Glob(filepath.Join(out, "performance-*.svg"))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range old {
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}
