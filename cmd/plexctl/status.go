package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/vds"
)

// watchInterval is how often status --watch looks.
const watchInterval = 2 * time.Second

// summary is the worst of everything that status shows.
type summary string

// Values of summary, from best to worst.
const (
	allHealthy summary = "healthy"   // every LUN is healthy, and so are the drives
	working    summary = "working"   // so they are, and a plex is being added to a LUN that is redundant without it
	noDrives   summary = "no-drives" // there is no drive, so there is no LUN
	inactive   summary = "inactive"  // a LUN is not active
	degraded   summary = "degraded"  // a LUN is being rebuilt or lacks a plex, or a drive has a problem; all data is there
	failed     summary = "failed"    // a LUN has no usable plex, or its I/O waits
)

// exit returns the exit status that goes with s, nil for that of success.
func (s summary) exit() error {
	return map[summary]error{noDrives: exitInactive, inactive: exitInactive, degraded: exitDegraded, failed: exitUnavailable}[s]
}

type statusOptions struct {
	luns  []string
	watch bool
}

func newStatus(c *cli) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status [LUN]...",
		Short: "Show the health of everything on one page",
		Long: "Status shows every LUN with its plexes and their drives, what is being copied, what is wrong and what to run.\n" +
			"The exit status is 0 when all is healthy, 20 when something is degraded or being rebuilt, 21 when a LUN has failed.\n" +
			"It is 22 when a LUN is not active, or there is no drive. With --watch it is that of the last look.",
	}
	cmd.Flags().BoolVarP(&opts.watch, "watch", "w", false, "look again every 2 seconds until interrupted")
	return reading(c, cmd, &opts, showStatus, all("[LUN...]", &opts.luns, lunNames))
}

func showStatus(ctx context.Context, s *session, opts statusOptions) error {
	doc, err := s.status(ctx, opts.luns)
	if err != nil {
		return err
	}
	if opts.watch {
		return s.watchStatus(ctx, opts, doc)
	}
	return cmp.Or(s.printStatus(doc), doc.Summary.exit())
}

// watchStatus shows doc and then the status anew at intervals until it is interrupted, or nobody reads it.
func (s *session) watchStatus(ctx context.Context, opts statusOptions, doc statusDocument) error {
	for {
		if s.terminal.out && s.format == formatText {
			fmt.Fprint(s.out, "\x1b[H\x1b[2J") // home, erase
		}
		if err := s.printStatus(doc); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if s.terminal.out && s.format == formatText {
				fmt.Fprintln(s.out) // behind the ^C that the terminal has echoed
			}
			return doc.Summary.exit()
		case <-s.gone:
			return doc.Summary.exit()
		case <-s.after(watchInterval):
		}
		next, err := s.statusAnew(ctx, opts.luns)
		if ctx.Err() != nil {
			return doc.Summary.exit()
		}
		if err != nil {
			return err
		}
		doc = next
	}
}

func (h *host) statusAnew(ctx context.Context, refs []string) (statusDocument, error) {
	if err := h.Refresh(ctx); err != nil {
		return statusDocument{}, err
	}
	return h.status(ctx, refs)
}

// status looks at the LUNs named by refs, or at all of them and the drives. It looks again before it says that the kernel contradicts
// the records. Drives and kernel are read one after the other, so a change in between looks like a fault.
func (h *host) status(ctx context.Context, refs []string) (statusDocument, error) {
	doc, err := h.look(ctx, refs)
	if err == nil && slices.ContainsFunc(doc.LUNs, contradicts) {
		if err = h.Refresh(ctx); err == nil {
			doc, err = h.look(ctx, refs)
		}
	}
	return doc, err
}

// contradicts reports whether the kernel has something of a LUN that its record does not explain.
func contradicts(l lunDoc) bool {
	return l.Orphan || slices.ContainsFunc(l.Problems, func(p errorDoc) bool {
		return p.value == vds.ErrProviderCacheCorrupt || p.value == vds.ErrProviderFailure
	})
}

// look is status by what was read last.
func (h *host) look(ctx context.Context, refs []string) (statusDocument, error) {
	luns, err := h.luns(ctx)
	if err != nil {
		return statusDocument{}, err
	}
	wanted := map[uuid.UUID]bool{}
	for _, ref := range refs {
		id, err := h.lunID(ref, luns)
		if err != nil {
			return statusDocument{}, err
		}
		wanted[id] = true
	}
	doc := statusDocument{DriveCount: len(h.Drives()), LUNs: luns, Problems: []errorDoc{}}
	if len(refs) > 0 {
		doc.LUNs = slices.DeleteFunc(luns, func(l lunDoc) bool { return !wanted[l.ID] })
	} else {
		doc.Problems = listOf(h.Problems(), newErrorDoc)
	}
	doc.Summary = summarize(doc)
	return doc, nil
}

// lunID is the GUID of the LUN that ref names. A LUN without a record has the name of its device.
func (h *host) lunID(ref string, luns []lunDoc) (uuid.UUID, error) {
	l, err := h.LUN(ref)
	if err == nil {
		return l.ID(), nil
	}
	for _, doc := range luns {
		if doc.Orphan && (doc.Name == ref || doc.ID.String() == ref) {
			return doc.ID, nil
		}
	}
	return uuid.Nil, err
}

// summarize returns the worst state in doc.
func summarize(doc statusDocument) summary {
	worst := 0
	all := []summary{allHealthy, working, noDrives, inactive, degraded, failed}
	note := func(s summary) { worst = max(worst, slices.Index(all, s)) }
	if len(doc.Problems) > 0 {
		note(degraded)
	}
	if doc.DriveCount == 0 {
		note(noDrives)
	}
	for _, l := range doc.LUNs {
		note(l.summary())
	}
	return all[worst]
}

// summary is the summary for one LUN.
func (l lunDoc) summary() summary {
	switch {
	case l.Health == vds.HealthFailed, l.Status == vds.StatusFailed, l.Status == vds.StatusNotReady:
		return failed
	case l.Health == vds.HealthRebuilding && l.Redundant && len(l.Problems) == 0 && l.adding():
		return working
	case l.Health != vds.HealthHealthy && !l.waits(), len(l.Problems) > 0:
		return degraded
	case l.Status == vds.StatusOffline:
		return inactive
	}
	return allHealthy
}

// adding reports whether a plex is being added to the LUN.
func (l lunDoc) adding() bool {
	return l.Operation != nil && l.Operation.Type == vds.AsyncAddLUNPlex && l.Operation.pending()
}

// waits reports whether an operation of the LUN goes on as soon as the LUN is active.
func (l lunDoc) waits() bool {
	return l.Status == vds.StatusOffline && l.Health == vds.HealthRebuilding
}

func (p printer) printStatus(doc statusDocument) error {
	text := p.statusTable(doc.LUNs)
	for _, l := range doc.LUNs {
		text += copyingText(l)
	}
	for _, l := range doc.LUNs {
		text += problemText(l.Name+": ", l.Problems)
	}
	text += problemText("", doc.Problems) + "\n"
	if n := doc.inactive(); n > 0 && doc.Summary != inactive {
		text += inactiveText(n) + "\n"
	}
	return p.print(doc, text+p.summary(doc)+"\n")
}

// inactive is how many LUNs are not active and could be.
func (doc statusDocument) inactive() int {
	n := 0
	for _, l := range doc.LUNs {
		if l.Status == vds.StatusOffline && !l.Foreign {
			n++
		}
	}
	return n
}

// inactiveText says how many LUNs are not active, and what to run.
func inactiveText(n int) string {
	text := fmt.Sprintf("%d LUNs are not active", n)
	if n == 1 {
		text = "1 LUN is not active"
	}
	return text + ": run `plexctl assemble`"
}

// statusTable is the LUNs, each with its plexes below it.
func (p printer) statusTable(luns []lunDoc) string {
	rows := [][]string{{"LUN", "SIZE", "TYPE", p.paint(sgrPlain, "HEALTH"), "STATUS", "DEVICE"}}
	for _, l := range luns {
		rows = append(rows, []string{l.Name, p.size(l.Size), l.Type.String(), p.lunHealth(l), l.Status.String(), dash(l.Device)})
		for _, x := range l.Plexes {
			row := p.plexRow(x)
			row[0] = "  " + row[0]
			rows = append(rows, row)
		}
	}
	return table(2, rows)
}

// copyingText tells what is being copied to or within a LUN, and how to follow it.
func copyingText(l lunDoc) string {
	text := copyText(l)
	if text == "" {
		return ""
	}
	text = fmt.Sprintf("\n%s: %s\n", l.Name, text)
	if o := l.Operation; o != nil {
		text += fmt.Sprintf("  run: plexctl %s\n", o.follow())
	}
	return text
}

func problemText(object string, problems []errorDoc) string {
	var text strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&text, "\nproblem: %s%s\n", object, p.Message)
		if p.Hint != "" {
			fmt.Fprintf(&text, "  hint: %s\n", visible.Line(p.Hint))
		}
	}
	return text.String()
}

// summary formats the summary of doc.
func (p printer) summary(doc statusDocument) string {
	return map[summary]string{
		allHealthy: p.paint(sgrGreen, "all is healthy"),
		working:    p.paint(sgrGreen, "all is healthy; a plex is being added"),
		noDrives:   p.paint(sgrYellow, "no drives: `plexctl drive init DEVICE` makes one"),
		inactive:   p.paint(sgrYellow, "inactive: "+inactiveText(doc.inactive())),
		degraded:   p.paint(sgrYellow, "degraded: the data is there, not everything is as it should be"),
		failed:     p.paint(sgrRed, "failed: a LUN cannot be used"),
	}[doc.Summary]
}
