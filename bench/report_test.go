package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// run1 is figures of one run: on one row a peer wins, on the other one plexctl does.
const run1 = `{"kernel":"6.12.1-test","figure":"fact","subject":"lvm2","value":0,"round":0,"text":"2.03"}
{"kernel":"6.12.1-test","figure":"left out","subject":"plexctl tracked","value":0,"round":0,"text":"not known"}
{"kernel":"6.12.1-test","figure":"redundant","case":"idle","subject":"lvm2","unit":"ms","value":300,"round":0}
{"kernel":"6.12.1-test","figure":"redundant","case":"idle","subject":"plexctl","unit":"ms","value":100,"round":0}
{"kernel":"6.12.1-test","figure":"redundant","case":"idle","subject":"plexctl","unit":"ms","value":900,"round":1}
{"kernel":"6.12.1-test","figure":"redundant","case":"idle","subject":"plexctl","unit":"ms","value":200,"round":2}
{"kernel":"6.12.1-test","figure":"redundant","case":"load","subject":"plexctl","unit":"ms","value":20,"round":0,"estimated":true}
{"kernel":"6.12.1-test","figure":"redundant","case":"load","subject":"mdadm","unit":"ms","value":5.001,"round":0}
{"kernel":"6.12.1-test","figure":"redundant","case":"load","subject":"lvm2","unit":"ms","value":4.999,"round":0}
{"kernel":"6.12.1-test","figure":"io","case":"read","subject":"plexctl","unit":"IO/s","value":20,"round":0}
{"kernel":"6.12.1-test","figure":"io","case":"read","subject":"lvm2","unit":"IO/s","value":30,"round":0}
`

func figuresOf(t *testing.T, text string) []figure {
	t.Helper()
	figures, err := read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return figures
}

func TestTable(t *testing.T) {
	r := reportOf(figuresOf(t, run1))
	for name, tt := range map[string]struct {
		section section
		want    []string
	}{
		"less is better": {section{Figure: "redundant"}, []string{
			"| | plexctl | lvm2 | mdadm |",
			"|---|---:|---:|---:|",
			"| idle | **200 ms** | 300 ms (1.50×) |  |",
			"| load | ≈ 20.0 ms | **5.00 ms** (0.25×) | **5.00 ms** (0.25×) |",
			"",
		}},
		"more is better": {section{Figure: "io", more: true}, []string{
			"| | plexctl | lvm2 |", "|---|---:|---:|", "| read | 20.0 IO/s | **30.0 IO/s** (1.50×) |", "",
		}},
		"not measured": {section{Figure: "attach"}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, strings.Split(r.table(tt.section, "6.12.1-test"), "\n")); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGoals has goals that are reached, missed and not measured.
func TestGoals(t *testing.T) {
	r := reportOf(figuresOf(t, `{"kernel":"6.12","figure":"attach","case":"100 % written","subject":"plexctl","unit":"ms","value":100}
{"kernel":"6.12","figure":"attach","case":"100 % written","subject":"lvm2","unit":"ms","value":900}
{"kernel":"6.12","figure":"attach","case":"100 % written","subject":"lvm2 tuned","unit":"ms","value":200}
{"kernel":"6.12","figure":"attach","case":"100 % written","subject":"mdadm","unit":"ms","value":10}
{"kernel":"6.12","figure":"window","case":"100 % written","subject":"plexctl","unit":"ms","value":5}
{"kernel":"6.12","figure":"status","case":"10 volumes","subject":"plexctl","unit":"ms","value":50}
{"kernel":"6.12","figure":"status","case":"500 volumes","subject":"plexctl","unit":"ms","value":250}
{"kernel":"6.12","figure":"size","case":"program","subject":"plexctl","unit":"MiB","value":7.5}
`))
	want := []string{
		"| | goal | measured | |", "|---|---:|---:|---|",
		"| Attach returns, of lvm2's time | ≤ 0.20× | 0.50× | **missed** |",
		"| The same: cost per volume, of that with 10 | ≤ 1.00× | 0.10× | reached |",
		"| Size of the program | ≤ 8.00 MiB | 7.50 MiB | reached |", "",
	}
	if diff := cmp.Diff(want, strings.Split(r.goals("6.12"), "\n")); diff != "" {
		t.Errorf("goals (-want +got):\n%s", diff)
	}
	if got := r.goals("6.1"); got != "" {
		t.Errorf("goals without figures: %q", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3},
	} {
		if got := (sample{values: tt.values}).median(); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
}

// TestRun makes a page and its charts, over those of an earlier run, and one without figures.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	input, stale := filepath.Join(dir, "6.12.json"), filepath.Join(dir, "performance-old-6.1.svg")
	for name, text := range map[string]string{input: run1, stale: "old"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(dir, []string{input}); err != nil {
		t.Fatal(err)
	}
	page := contentOf(t, dir, "performance.md")
	for _, text := range []string{
		"## Linux 6.12.1-test", "lvm2 2.03; 3 rounds.", "Left out: plexctl tracked: not known.", "![chart](performance-redundant-6.12.svg)",
		"| idle | **200 ms** |",
	} {
		if !strings.Contains(page, text) {
			t.Errorf("page lacks %q:\n%s", text, page)
		}
	}
	if charts, err := filepath.Glob(filepath.Join(dir, "*.svg")); err != nil || len(charts) != 2 {
		t.Errorf("charts %q, %v, want two", charts, err)
	}
	svg := contentOf(t, dir, "performance-redundant-6.12.svg")
	wellFormed(t, svg)
	for _, text := range []string{"plexctl", "mdadm", "idle", "load", ">ms<"} {
		if !strings.Contains(svg, text) {
			t.Errorf("chart lacks %q", text)
		}
	}

	if err := run(dir, nil); err != nil {
		t.Fatal(err)
	}
	if page := contentOf(t, dir, "performance.md"); !strings.Contains(page, "no figures") || strings.Contains(page, "## Linux") {
		t.Errorf("page without figures:\n%s", page)
	}
}

func contentOf(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wellFormed fails the test unless the text is XML.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":       "FIGURE",
		"cut off":       `{"kernel":"6.12","figure":"io"`,
		"no kernel":     `{"figure":"io","subject":"plexctl","value":1}`,
		"no figure":     `{"kernel":"6.12","subject":"plexctl","value":1}`,
		"no subject":    `{"kernel":"6.12","figure":"io","value":1}`,
		"unknown field": `{"kernel":"6.12","figure":"io","subject":"plexctl","speed":1}`,
	} {
		if figures, err := read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read: %+v", name, figures)
		}
	}
}
