package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// subjectOrder is the order of columns and bars: what the others are compared with comes first.
var subjectOrder = []string{
	"plexctl", "plexctl tuned", "plexctl tracked", "lvm2", "lvm2 tuned", "mdadm", "mdadm tuned", "dmsetup", "no mirror",
}

// bySubject compares subjects by their place in subjectOrder; those it does not know come last.
func bySubject(a, b string) int {
	place := func(s string) int {
		if i := slices.Index(subjectOrder, s); i >= 0 {
			return i
		}
		return len(subjectOrder)
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
}

// section is a figure as the page shows it.
type section struct {
	Figure string
	Title  string
	Text   string
	more   bool // more is better
	chart  bool
}

// report is all that was measured.
type report struct {
	figures []figure
	Kernels []string
}

// reportOf is the report of figures, in the order of which cases are shown.
func reportOf(all []figure) report {
	kernels := map[string]bool{}
	for _, f := range all {
		kernels[f.Kernel] = true
	}
	return report{figures: all, Kernels: slices.Sorted(maps.Keys(kernels))}
}

//go:embed performance.md.tmpl
var page string

// markdown is the page.
func (r report) markdown() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"sections": sections, "table": r.table, "chart": r.chartFile, "facts": r.facts, "rounds": r.rounds, "leftOut": r.leftOut, "goals": r.goals,
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, r)
	return out.Bytes(), err
}

// table is a figure on one kernel; empty when it was not measured.
func (r report) table(s section, kernel string) string {
	cases, subjects, samples := valuesOf(r.figures, kernel, s.Figure)
	if len(cases) == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| | %s |\n|---|%s\n", strings.Join(subjects, " | "), strings.Repeat("---:|", len(subjects)))
	for _, c := range cases {
		row := map[string]*sample{}
		for _, subject := range subjects {
			if one := samples[[2]string{c, subject}]; one != nil {
				row[subject] = one
			}
		}
		best := s.best(row)
		fmt.Fprintf(&out, "| %s |", cmp.Or(c, "all"))
		for _, subject := range subjects {
			fmt.Fprintf(&out, " %s |", cell(row, subject, best))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// best is the best median of a row.
func (s section) best(row map[string]*sample) float64 {
	var medians []float64
	for _, one := range row {
		medians = append(medians, one.median())
	}
	if s.more {
		return slices.Max(medians)
	}
	return slices.Min(medians)
}

// cell is one median with its unit, how it compares with plexctl's, and in bold if nothing is better.
func cell(row map[string]*sample, subject string, best float64) string {
	one := row[subject]
	if one == nil {
		return ""
	}
	median := one.median()
	text := number(median) + " " + one.unit
	if one.estimated {
		text = "≈ " + text
	}
	if number(median) == number(best) {
		text = "**" + text + "**"
	}
	if own := row["plexctl"]; own != nil && subject != "plexctl" && own.median() > 0 {
		text += fmt.Sprintf(" (%s×)", number(median/own.median()))
	}
	return text
}

// number is a value with three digits that count, and as many as there are before the point.
func number(value float64) string {
	switch {
	case value >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case value >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

// facts are what a kernel's figures were measured with.
func (r report) facts(kernel string) string {
	var facts []string
	for _, f := range r.figures {
		text := f.Subject + " " + f.Text
		if f.Kernel == kernel && f.Figure == fact && !slices.Contains(facts, text) {
			facts = append(facts, text)
		}
	}
	return strings.Join(facts, ", ")
}

// leftOut says what was not measured on a kernel, and why.
func (r report) leftOut(kernel string) []string {
	var said []string
	for _, f := range r.figures {
		text := f.Subject + ": " + f.Text
		if f.Kernel == kernel && f.Figure == leftOut && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return said
}

// rounds is how often a kernel's figures were measured.
func (r report) rounds(kernel string) int {
	most := 0
	for _, f := range r.figures {
		if f.Kernel == kernel {
			most = max(most, f.Round+1)
		}
	}
	return most
}
