package main

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// named puts the names that users know in the place of GUIDs. These are the path of a drive, the drives of a plex, and the LUN of
// an operation. Programs get the GUIDs.
func (h *host) named(text string) string {
	guid := regexp.MustCompile(`\b(drive|plex|operation|op (?:show|wait|cancel|set-rate)) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b`)
	return guid.ReplaceAllStringFunc(text, func(found string) string {
		parts := guid.FindStringSubmatch(found)
		id := uuid.MustParse(parts[2])
		var name string
		switch kind := parts[1]; kind {
		case "drive":
			ref := h.driveRefs()[id]
			if name = ref.Path; name == "" && ref.LastPath != "" {
				name = fmt.Sprintf("%s (%s)", id, ref.was())
			}
		case "plex":
			if name = h.plexDrives(id); name != "" {
				name = "on " + name
			}
		default:
			if name = h.lunOf(id); name != "" && kind == "operation" {
				name = "of " + name
			}
		}
		if name == "" {
			return found
		}
		return parts[1] + " " + name
	})
}

// plexDrives is the paths of the drives of a plex; empty when it is unknown, or one of them is missing.
func (h *host) plexDrives(plex uuid.UUID) string {
	paths := h.DrivePaths()
	for _, l := range h.LUNs() {
		record, err := l.Record()
		if err != nil {
			continue
		}
		for _, p := range record.Plexes {
			if p.ID != plex {
				continue
			}
			var drives []string
			for _, e := range p.Data {
				if path := paths[e.Drive]; path == "" {
					return ""
				} else if len(drives) == 0 || drives[len(drives)-1] != path {
					drives = append(drives, path)
				}
			}
			return strings.Join(drives, ",")
		}
	}
	return ""
}

// lunOf is the name of the LUN that has an operation; empty when it is unknown.
func (h *host) lunOf(operation uuid.UUID) string {
	for _, o := range h.Operations() {
		if o.ID == operation {
			if l, err := h.LUN(o.LUN.String()); err == nil {
				return l.Name()
			}
		}
	}
	return ""
}

// warnings writes what the library warns of as plexctl writes errors.
type warnings struct{ c *cli }

// Enabled says that all warnings are wanted, and nothing else.
func (warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle writes a warning.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text, about, cause := "plexctl: warning: "+r.Message, "", ""
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			cause += ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
		} else {
			about += fmt.Sprintf(", %s %v", a.Key, a.Value)
		}
		return true
	})
	if about != "" {
		about = " (" + about[2:] + ")"
	}
	p := w.c.printer()
	_, err := fmt.Fprintln(p.err, p.shown(text+about+cause))
	return err
}

// WithAttrs is without effect: the library gives attributes with each warning.
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup is without effect: the library makes no groups.
func (w warnings) WithGroup(string) slog.Handler { return w }
