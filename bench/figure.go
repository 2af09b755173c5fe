package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// figure is one thing measured, as integration/measure/bench_test.go writes it: a line of JSON.
type figure struct {
	Kernel    string  `json:"kernel"`
	Figure    string  `json:"figure"`
	Case      string  `json:"case"`
	Subject   string  `json:"subject"`
	Unit      string  `json:"unit"`
	Value     float64 `json:"value"`
	Round     int     `json:"round"`
	Estimated bool    `json:"estimated"`
	Text      string  `json:"text"`
}

// Figures that are no measurements.
const (
	fact    = "fact"     // a version, or what the machine is
	leftOut = "left out" // why a subject is not there
)

// readFile reads the figures of one run.
func readFile(name string) ([]figure, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	figures, err := read(f)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return figures, errors.Join(err, f.Close())
}

// read reads lines of JSON.
func read(r io.Reader) ([]figure, error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	var all []figure
	for {
		var f figure
		err := decoder.Decode(&f)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("figure %d: %w", len(all)+1, err)
		}
		if f.Kernel == "" || f.Figure == "" || f.Subject == "" {
			return nil, fmt.Errorf("figure %d: no kernel, name or subject", len(all)+1)
		}
		all = append(all, f)
	}
}

// sample is one thing measured several times.
type sample struct {
	unit      string
	values    []float64
	estimated bool // some of the values are
}

// add adds a figure.
func (s *sample) add(f figure) {
	s.unit = f.Unit
	s.values = append(s.values, f.Value)
	s.estimated = s.estimated || f.Estimated
}

// median is the middle of the values, or the mean of the two in the middle.
func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s.values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// valuesOf are the values of a figure on one kernel: case, then subject.
func valuesOf(all []figure, kernel, name string) (cases, subjects []string, samples map[[2]string]*sample) {
	samples = map[[2]string]*sample{}
	for _, f := range all {
		if f.Kernel != kernel || f.Figure != name {
			continue
		}
		at := [2]string{f.Case, f.Subject}
		if samples[at] == nil {
			samples[at] = &sample{}
		}
		samples[at].add(f)
		if !slices.Contains(cases, f.Case) {
			cases = append(cases, f.Case)
		}
		if !slices.Contains(subjects, f.Subject) {
			subjects = append(subjects, f.Subject)
		}
	}
	slices.SortFunc(subjects, bySubject)
	return cases, subjects, samples
}
