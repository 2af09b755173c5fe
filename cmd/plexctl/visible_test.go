package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
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

// Every source of text that plexctl does not choose itself, each with the commands that show it. None reaches a terminal as it is.
func TestEverySourceIsVisible(t *testing.T) {
	const esc = "a\x1b]0;owned\x07\x1b[2J\nzz\xff"
	sources := map[string]func(s *stage){
		"model":  func(s *stage) { s.mem.Change("/dev/sdc", func(i *blockdev.Info) { i.Model = esc }) },
		"serial": func(s *stage) { s.mem.Change("/dev/sdc", func(i *blockdev.Info) { i.Serial = esc }) },
		"identity": func(s *stage) {
			s.mem.Change("/dev/sdb", func(i *blockdev.Info) { i.Identity = blockdev.Identity(esc) })
		},
		"path":           func(s *stage) { s.mem.AddDisk(blockdev.Info{Path: "/dev/" + esc, Size: 64 * size.MiB}) },
		"signature":      func(s *stage) { s.mem.SetSignatures("/dev/sdc", signature.Signature{Type: "ext4", Label: esc}) },
		"mount":          func(s *stage) { s.uses("/dev/sdc", blockdev.User{Kind: "mount", Name: esc}) },
		"process":        func(s *stage) { s.uses("/dev/sdc", blockdev.User{Kind: "process", Name: esc}) },
		"holder":         func(s *stage) { s.uses("/dev/sdc", blockdev.User{Kind: "holder", Name: esc}) },
		"device":         func(s *stage) { _, _ = s.kernel.Create(context.Background(), "x"+esc, "PLEX-"+esc) },
		"kernel release": func(s *stage) { s.facts.release = esc },
		"error": func(s *stage) {
			s.mem.Fail("/dev/sdb", blocktest.Fault{Kind: "read", Err: errors.New(esc)})
		},
	}
	commands := []string{
		"drive list", "drive show /dev/sdb", "drive show /dev/sdc", "drive init /dev/sdc", "drive init /dev/sdc --force", "drive remove /dev/sdb",
		"drive repair /dev/sdb", "status", "doctor", "refresh", "reenumerate", "-v assemble", "deactivate", "plex add web1 --drive /dev/sdc",
		"drive init /dev/" + esc, "lun create x --size 1MiB --drive /dev/" + esc, "lun show " + esc, esc, "lun " + esc, "--" + esc,
	}
	for name, feed := range sources {
		s := newStage(t.TempDir())
		for _, disk := range []string{"/dev/sdb", "/dev/sdc"} {
			s.mem.AddDisk(blockdev.Info{Path: disk, Size: 64 * size.MiB})
		}
		run := func(args ...string) string {
			var out bytes.Buffer
			s.app(&out, &out, func() {}).run(t.Context(), args)
			return out.String()
		}
		run("drive", "init", "/dev/sdb", "--yes")
		run("lun", "create", "web1", "--size", "16MiB")
		feed(s)
		for _, command := range commands {
			s.terminal = terminal{in: true, out: true, err: true}
			text := run(strings.Split(command, " ")...)
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%s: %q shows %.80q", name, command, text[i:])
			}
			if strings.Contains(text, "\nzz") {
				t.Errorf("%s: %q has a line of its own: %q", name, command, text)
			}
		}
	}
}

// uses has somebody use a disk.
func (s *stage) uses(path string, user blockdev.User) {
	info, err := s.mem.Stat(context.Background(), path)
	if err == nil {
		s.mem.SetUsers(info.Dev, user)
	}
}

// blockdevError is an error about a path, as the system words it.
type blockdevError string

func (e blockdevError) Error() string { return "open " + string(e) + ": no such device" }
