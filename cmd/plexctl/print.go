package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// printer writes results in the format that the user wants.
type printer struct {
	streams
	format format
}

// print writes a result to stdout: doc with -o json, else the output of text.
func (p printer) print(doc any, text func(io.Writer) error) error {
	if p.format == formatJSON {
		return p.encode(doc)
	}
	w := bufio.NewWriter(p.out) // a table is written cell by cell
	err := text(w)
	return errors.Join(err, w.Flush())
}

// encode writes a document as a line of JSON, with the version of the schema as its first field.
func (p printer) encode(doc any) error {
	fields, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, `{"schema":%d,%s`+"\n", schemaVersion, fields[1:])
	return err
}

// done ends a command without a result: it writes doc with -o json, else a message to stderr.
func (p printer) done(doc any, format string, args ...any) error {
	return p.print(doc, func(io.Writer) error {
		_, err := fmt.Fprintf(p.err, format+"\n", args...)
		return err
	})
}

// report writes an error: as text to stderr, or with -o json as a document to stdout, where a script expects the result.
func (p printer) report(err error) {
	doc := newErrorDoc(err)
	text := fmt.Sprintf("plexctl: %s (%s, %s)", doc.Message, doc.Code, doc.HResult)
	if doc.Hint != "" {
		text += "\nhint: " + doc.Hint
	}
	p.note(errorDocument{doc}, text)
}

// note writes what is not the result: doc to stdout with -o json, else text to stderr. There is no place left for an error.
func (p printer) note(doc any, text string) {
	if p.format == formatJSON {
		_ = p.encode(doc)
		return
	}
	fmt.Fprintln(p.err, text)
}

// newErrorDoc puts an error on one line, as it is shown.
func newErrorDoc(err error) errorDoc {
	return errorDoc{
		codeDoc: newCode(codeOf(err)),
		Message: strings.ReplaceAll(err.Error(), "\n", "; "),
		Hint:    vds.HintOf(err),
	}
}

// grid is a table in text: a head, rows, columns that line up.
type grid struct{ w *tabwriter.Writer }

func newGrid(w io.Writer, head ...string) grid {
	g := grid{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	g.row(head...)
	return g
}

func (g grid) row(cells ...string) { fmt.Fprintln(g.w, strings.Join(cells, "\t")) }

func (g grid) flush() error { return g.w.Flush() }

// details writes facts about one object, one a line: "health:   rebuilding". It leaves out those without a value.
func details(w io.Writer, pairs ...[2]string) error {
	tab := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	for _, pair := range pairs {
		if pair[1] != "" {
			fmt.Fprintf(tab, "%s:\t%s\n", pair[0], pair[1])
		}
	}
	return tab.Flush()
}

// SGR sequences. All have the same length, so that tabwriter, which counts them, still lines up a column in which every
// cell is painted.
const (
	sgrPlain  = "\x1b[39m"
	sgrRed    = "\x1b[31m"
	sgrGreen  = "\x1b[32m"
	sgrYellow = "\x1b[33m"
)

// paint colours a cell if the terminal has colours. The head of a column with painted cells must be painted plain.
func (p printer) paint(sgr, text string) string {
	if !p.terminal.color {
		return text
	}
	return sgr + text + sgrPlain
}

// health formats a health as a cell.
func (p printer) health(h vds.Health) string {
	switch h {
	case vds.HealthHealthy:
		return p.paint(sgrGreen, h.String())
	case vds.HealthFailed, vds.HealthUnknown:
		return p.paint(sgrRed, h.String())
	default:
		return p.paint(sgrYellow, h.String())
	}
}

// id formats a GUID as a cell: its first digits for a reader at a terminal, the whole for a program behind a pipe.
func (p printer) id(id uuid.UUID) string {
	if p.terminal.out {
		return id.String()[:8]
	}
	return id.String()
}

// stamp formats a time for people, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// dash fills an empty cell.
func dash(text string) string {
	return cmp.Or(text, "-")
}

// progressText tells how far something is: "41 %, 820 MiB of 2.0 GiB, 85 MiB/s, 15s left".
func progressText(percent int, done, total, rate size.Bytes, eta time.Duration) string {
	text := fmt.Sprintf("%d %%, %s of %s", percent, done, total)
	if rate > 0 {
		text += fmt.Sprintf(", %s/s", rate)
	}
	if left := eta.Round(time.Second); left > 0 {
		text += fmt.Sprintf(", %s left", left)
	}
	return text
}
