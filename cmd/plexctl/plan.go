package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/plexctl/plexctl/lun"
)

// printPlan shows the steps of a change. refused is nil, or why no more would be done. Without any step only refused is shown.
func (p printer) printPlan(steps []lun.PlannedStep, refused error) error {
	if refused != nil && len(steps) == 0 {
		return refused
	}
	docs := listOf(steps, newStepDoc)
	return errors.Join(p.print(document{"plan": docs}, planText(docs)), refused)
}

func newStepDoc(s lun.PlannedStep) stepDoc {
	doc := stepDoc{Text: s.Text, Undo: s.Undo, Commit: s.Commit}
	if table := strings.TrimSpace(s.Table); table != "" {
		doc.Table = strings.Split(table, "\n")
	}
	return doc
}

// planText is a plan for people: numbered steps, each with the table that it loads and how it would be taken back.
func planText(steps []stepDoc) string {
	var text strings.Builder
	if len(steps) == 0 {
		text.WriteString("nothing to do\n")
	}
	below := func(format string, args ...any) { fmt.Fprintf(&text, "      "+format+"\n", args...) }
	committed := false
	for i, s := range steps {
		fmt.Fprintf(&text, "%3d. %s\n", i+1, s.Text)
		for _, line := range s.Table {
			below("%s", line)
		}
		if s.Undo != "" {
			below("undo: %s", s.Undo)
		}
		switch {
		case s.Commit && committed:
			below("COMMIT POINT: cut off before or after it, the next assemble completes the change")
		case s.Commit:
			below("COMMIT POINT: cut off before it, nothing has changed; cut off after it, the next assemble completes the change")
		}
		committed = committed || s.Commit
	}
	return text.String()
}
