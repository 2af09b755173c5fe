package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// A drive, a mount and a process with names that a terminal would obey.
var (
	hostileDrive = blockdev.Info{
		Path: "/dev/odd\nname", Model: "Good\x1b]0;owned\x07\x1b[2J\x1b[31mDisk\x1b[39m", Serial: "S\r\x1b[1A\x1b[2KEverything will be kept\xff",
	}
	hostileMount = blockdev.User{Kind: "mount", Name: "/srv/a\nb\x1b[2J"}
)

// What other programs and devices call themselves reaches no terminal as it is, in no output, and JSON has it as it is.
func TestOutputIsVisible(t *testing.T) {
	drive := lun.Drive{Info: hostileDrive}
	reason := &vds.Error{Code: vds.ErrDeviceInUse, Op: "delete", Reason: "it is in use: " + hostileMount.String(), Err: blockdevError(hostileDrive.Path)}
	outputs := map[string]struct {
		lines int
		write func(s *session) error
	}{
		"drives":  {2, func(s *session) error { return s.printDrives([]lun.Drive{drive}) }},
		"details": {1, func(s *session) error { return s.print(document{}, details([2]string{"model", hostileDrive.Model})) }},
		"error":   {1, func(s *session) error { s.report(reason); return nil }},
		"question": {2, func(s *session) error {
			return s.confirm(t.Context(), "Everything on it ("+deviceText(hostileDrive)+") will be lost.")
		}},
	}
	for name, output := range outputs {
		for _, color := range []bool{false, true} {
			var out bytes.Buffer
			st := streams{in: strings.NewReader("yes\n"), out: &out, err: &out, terminal: terminal{in: true, err: true, color: color}}
			if err := output.write(&session{printer: printer{streams: st}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			text := strings.NewReplacer(sgrPlain, "", sgrRed, "", sgrGreen, "", sgrYellow, "").Replace(out.String())
			if !color {
				text = out.String()
			}
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%s has %q", name, text[i:])
			}
			if lines := strings.Count(strings.TrimSuffix(text, "Go on? [y/N] "), "\n"); lines > output.lines {
				t.Errorf("%s has %d lines, want %d:\n%s", name, lines, output.lines, text)
			}
		}
	}
	var out bytes.Buffer
	p := printer{streams: streams{out: &out}, format: formatJSON}
	if err := p.printDrives([]lun.Drive{drive}); err != nil {
		t.Fatal(err)
	}
	var doc struct{ Drives []driveDoc }
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Drives[0].Model != hostileDrive.Model || doc.Drives[0].Path != hostileDrive.Path {
		t.Errorf("%v, %+v", err, doc)
	}
}

// blockdevError is an error about a path, as the system words it.
type blockdevError string

func (e blockdevError) Error() string { return "open " + string(e) + ": no such device" }
