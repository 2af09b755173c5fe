package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// goal is something that plexctl is meant to reach on every kernel.
type goal struct {
	text   string
	figure string
	kase   string
	own    string   // subject; empty: plexctl
	others []string // the best of whom it is compared with; none: the value itself counts
	from   string   // a case with fewer volumes, whose value per volume it is compared with
	most   float64  // of the ratio, or of the value in its unit
}

// goals are what was set before anything was measured.
func goals() []goal {
	const third, written, large = 1. / 3, "100 % written", "5 % of 3.0 GiB written"
	lvm := []string{"lvm2", "lvm2 tuned"}
	all := append([]string{"mdadm", "mdadm tuned"}, lvm...)
	return []goal{
		{text: "Attach returns, of lvm2's time", figure: "attach", kase: written, others: lvm, most: 1. / 5},
		{text: "Volume is suspended, of lvm2's time", figure: "window", kase: written, others: lvm, most: third},
		{text: "The same with five writers", figure: "window", kase: written + ", five writers", others: lvm, most: third},
		{text: "The same of a tracked LUN", figure: "window", kase: written, own: "plexctl tracked", others: lvm, most: third},
		{text: "What a writer feels, of lvm2's time", figure: "stall", kase: written + ", one writer", others: lvm, most: third},
		{text: "The same with five writers", figure: "stall", kase: written + ", five writers", others: lvm, most: third},
		{text: "5 % of a tracked LUN of 3 GiB written: data written to the new leg, 6 % of its size", figure: "data-second", kase: large, own: "plexctl tracked", most: 0.06 * 3072},
		{text: "The same: both legs are equal, of the best time of the others", figure: "redundant", kase: large, own: "plexctl tracked", others: all, most: 1. / 10},
		{text: "All written: both legs are equal, of the best time of the others", figure: "redundant", kase: written, own: "plexctl tuned", others: all, most: 1},
		{text: "Show 500 volumes, of lvm2's time", figure: "status", kase: "500 volumes", others: lvm, most: 1. / 10},
		{text: "The same: cost per volume, of that with 10", figure: "status", kase: "500 volumes", from: "10 volumes", most: 1},
		{text: "Start 500 volumes, of lvm2's time", figure: "activate", kase: "500 volumes", others: lvm, most: third},
		{text: "The same: cost per volume, of that with 10", figure: "activate", kase: "500 volumes", from: "10 volumes", most: 1},
		{text: "Memory to show 500 volumes", figure: "memory", kase: "status, 500 volumes", most: 20},
		{text: "The same: to start them", figure: "memory", kase: "activate, 500 volumes", most: 20},
		{text: "The same: to stop them", figure: "memory", kase: "deactivate, 500 volumes", most: 20},
		{text: "Size of the program", figure: "size", kase: "program", most: 8},
	}
}

// goals is how far plexctl is from its goals on a kernel; empty when nothing of that was measured.
func (r report) goals(kernel string) string {
	var rows strings.Builder
	for _, g := range goals() {
		value, unit, ok := r.reached(g, kernel)
		if !ok {
			continue
		}
		verdict := "reached"
		if value > g.most {
			verdict = "**missed**"
		}
		fmt.Fprintf(&rows, "| %s | ≤ %s%s | %s%s | %s |\n", g.text, number(g.most), unit, number(value), unit, verdict)
	}
	if rows.Len() == 0 {
		return ""
	}
	return "| | goal | measured | |\n|---|---:|---:|---|\n" + rows.String()
}

// reached is what of a goal was measured; false when not all of it was.
func (r report) reached(g goal, kernel string) (value float64, unit string, ok bool) {
	_, _, samples := valuesOf(r.figures, kernel, g.figure)
	subject := cmp.Or(g.own, "plexctl")
	own := samples[[2]string{g.kase, subject}]
	if own == nil {
		return 0, "", false
	}
	if g.from != "" {
		fewer := samples[[2]string{g.from, subject}]
		if fewer == nil {
			return 0, "", false
		}
		return own.median() / volumes(g.kase) / (fewer.median() / volumes(g.from)), "×", true
	}
	var best []float64
	for _, other := range g.others {
		if one := samples[[2]string{g.kase, other}]; one != nil {
			best = append(best, one.median())
		}
	}
	switch {
	case len(g.others) == 0:
		return own.median(), " " + own.unit, true
	case len(best) == 0 || slices.Min(best) == 0:
		return 0, "", false
	}
	return own.median() / slices.Min(best), "×", true
}

// volumes is how many volumes a case is of.
func volumes(kase string) float64 {
	count, _, _ := strings.Cut(kase, " ")
	n, _ := strconv.ParseFloat(count, 64) // goals are written right
	return n
}
