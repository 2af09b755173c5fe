package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// printer writes results in the format that the user wants.
type printer struct {
	streams
	format  format
	verbose bool
	bytes   bool                // sizes as plain numbers
	named   func(string) string // puts names in the place of GUIDs; nil: leaves them
}

// print writes a result to stdout: doc with -o json, else text.
func (p printer) print(doc any, text string) error { return p.write(p.out, doc, text) }

// say writes what is no result: doc to stdout with -o json, else text as a line to stderr.
func (p printer) say(doc any, text string) error { return p.write(p.err, doc, text+"\n") }

// note tells the user something on the side. With -o json it is left out.
func (p printer) note(format string, args ...any) {
	if p.format == formatText {
		_ = p.say(nil, fmt.Sprintf(format, args...)) // the result fails the same way
	}
}

func (p printer) write(w io.Writer, doc any, text string) error {
	if p.format == formatJSON {
		return p.encode(doc)
	}
	_, err := io.WriteString(w, p.shown(text))
	return err
}

// shown is text for a user, with the names of objects. Of control characters it has line breaks, and colours if the terminal has them.
func (p printer) shown(text string) string {
	if p.named != nil {
		text = p.named(text)
	}
	if !p.terminal.color {
		return visible.Text(text)
	}
	return visible.Text(text, sgrPlain, sgrRed, sgrGreen, sgrYellow)
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

// report writes an error: as text to stderr, or with -o json as a document to stdout, where a script expects the result.
func (p printer) report(err error) {
	doc := newErrorDoc(err)
	text := "plexctl: " + doc.Message
	if p.verbose {
		text += fmt.Sprintf(" (%s, %s)", doc.Code, doc.HResult)
	}
	if doc.Hint != "" {
		text += "\nhint: " + doc.Hint
	}
	_ = p.say(document{"error": doc}, text) // there is no place left for another error
}

// newErrorDoc puts an error on one line, as it is shown.
func newErrorDoc(err error) errorDoc {
	doc := errorDoc{
		codeDoc: newCode(codeOf(err)),
		Message: strings.ReplaceAll(err.Error(), "\n", "; "),
		Hint:    vds.HintOf(err),
	}
	if errors.Is(err, blockdev.ErrSilent) {
		doc.Kind = "silent"
	}
	return doc
}

// table is rows of cells as text. Columns line up, with so many blanks between them.
func table(blanks int, rows [][]string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, blanks, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(listOf(row, cell), "\t"))
	}
	_ = w.Flush() // into memory
	return text.String()
}

// listing is a table of a head and a row for each of all.
func listing[T any](head []string, all []T, row func(T) []string) string {
	return table(2, append([][]string{head}, listOf(all, row)...))
}

// cell is text for a cell, on one line. It may be painted.
func cell(text string) string {
	for _, sgr := range []string{sgrPlain, sgrRed, sgrGreen, sgrYellow} {
		if inner, painted := strings.CutPrefix(text, sgr); painted && strings.HasSuffix(inner, sgrPlain) {
			return sgr + visible.Line(strings.TrimSuffix(inner, sgrPlain)) + sgrPlain
		}
	}
	return visible.Line(text)
}

// details is facts about one object as text, one a line: "health:   rebuilding". It leaves out those without a value.
func details(pairs ...[2]string) string {
	var rows [][]string
	for _, pair := range pairs {
		if pair[1] != "" {
			rows = append(rows, []string{pair[0] + ":", pair[1]})
		}
	}
	return table(1, rows)
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

// lunHealth formats the health of a LUN as a cell. Nothing has failed in a LUN of another host.
func (p printer) lunHealth(l lunDoc) string {
	if l.Foreign {
		return p.paint(sgrYellow, "foreign")
	}
	return p.health(l.Health)
}

// health formats a health as a cell.
func (p printer) health(h vds.Health) string {
	colours := map[vds.Health]string{vds.HealthHealthy: sgrGreen, vds.HealthFailed: sgrRed, vds.HealthUnknown: sgrRed}
	return p.paint(cmp.Or(colours[h], sgrYellow), h.String())
}

// id formats a GUID as a cell. It is a dash if there is none, its first digits for a reader at a terminal, the whole for a program behind a pipe.
func (p printer) id(id uuid.UUID) string {
	switch {
	case id == uuid.Nil:
		return "-"
	case p.terminal.out:
		return id.String()[:8]
	}
	return id.String()
}

// size formats a size as a cell.
func (p printer) size(b size.Bytes) string {
	if p.bytes {
		return strconv.FormatUint(uint64(b), 10)
	}
	return b.String()
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
