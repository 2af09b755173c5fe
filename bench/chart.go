package main

import (
	"bytes"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a figure on one kernel as bars: a group for each case, a bar for each subject.
type chart struct {
	file     string
	title    string
	unit     string
	cases    []string
	subjects []string
	values   map[[2]string]float64 // of case and subject
}

// charts are the charts of all kernels.
func (r report) charts() []chart {
	var all []chart
	for _, kernel := range r.Kernels {
		for _, s := range sections() {
			if file := r.chartFile(s, kernel); file != "" {
				all = append(all, r.chart(s, kernel, file))
			}
		}
	}
	return all
}

// chartFile is the name of the file of a chart; empty when there is none.
func (r report) chartFile(s section, kernel string) string {
	if cases, _, _ := valuesOf(r.figures, kernel, s.Figure); !s.chart || len(cases) == 0 {
		return ""
	}
	parts := strings.SplitN(kernel, ".", 3)
	return "performance-" + s.Figure + "-" + strings.Join(parts[:min(2, len(parts))], ".") + ".svg"
}

// chart is the chart of a figure. Where units differ, the cases of the first unit alone are in it.
func (r report) chart(s section, kernel, file string) chart {
	cases, subjects, samples := valuesOf(r.figures, kernel, s.Figure)
	c := chart{file: file, title: s.Title, subjects: subjects, values: map[[2]string]float64{}}
	for _, name := range cases {
		in := false
		for _, subject := range subjects {
			one := samples[[2]string{name, subject}]
			if one == nil || c.unit != "" && one.unit != c.unit {
				continue
			}
			c.unit, in = one.unit, true
			c.values[[2]string{name, subject}] = one.median()
		}
		if in {
			c.cases = append(c.cases, name)
		}
	}
	return c
}

// Sizes of a chart.
const (
	barWidth   = vg.Length(9)
	groupGap   = vg.Length(16)
	chartWidth = 8 * vg.Inch
	aroundBars = vg.Length(110) // title, axis and legend
)

// margin is what stays free around a chart.
const margin = vg.Length(10)

// colours are those of the subjects, in their order, which people who do not see all colours can tell apart too.
var colours = []color.Color{
	color.RGBA{0x00, 0x5a, 0xb5, 0xff},
	color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x66, 0x66, 0x66, 0xff},
	color.RGBA{0xb0, 0xb0, 0xb0, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0x33, 0x33, 0x33, 0xff},
}

// svg draws the chart.
func (c chart) svg() ([]byte, error) {
	p := plot.New()
	sans(p)
	p.Title.Text = c.title
	p.X.Label.Text = c.unit
	p.X.Min = 0
	p.Legend.Top, p.Legend.Padding, p.Legend.ThumbnailWidth = true, margin/5, margin
	group := barWidth*vg.Length(len(c.subjects)) + groupGap
	for i, subject := range c.subjects {
		values := make(plotter.Values, len(c.cases))
		for j, name := range c.cases { // the axis grows upwards, and the page is read downwards
			values[len(c.cases)-1-j] = c.values[[2]string{name, subject}]
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return nil, err
		}
		bars.Horizontal, bars.LineStyle.Width = true, 0
		bars.Color = colours[max(0, slices.Index(subjectOrder, subject))]
		bars.Offset = barWidth * (vg.Length(len(c.subjects)-1)/2 - vg.Length(i))
		p.Add(bars)
		p.Legend.Add(subject, bars)
	}
	p.NominalY(reversed(c.cases)...)
	p.Y.Min, p.Y.Max = -0.5, float64(len(c.cases))-0.5
	p.X.Max *= 1.25 // room for the legend
	canvas := vgsvg.New(chartWidth, group*vg.Length(len(c.cases))+aroundBars)
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	var out bytes.Buffer
	_, err := canvas.WriteTo(&out)
	// Where that font is not to be had, another one without serifs.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,sans-serif")), err
}

// sans makes all text of a plot one without serifs.
func sans(p *plot.Plot) {
	for _, f := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		f.Variant = "Sans"
	}
}

// reversed is names, last first.
func reversed(names []string) []string {
	last := len(names) - 1
	turned := make([]string, len(names))
	for i, name := range names {
		turned[last-i] = name
	}
	return turned
}
