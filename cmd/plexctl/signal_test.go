package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// TestASignalAtEveryStep interrupts every command that changes something in front of each of its effects on the world. It has done all
// of its work then and ends with 0, or nothing and ends with 130; a command for several objects may have done some of them. What it has
// done is what it says.
func TestASignalAtEveryStep(t *testing.T) {
	mirror := "plex add web1 spare --yes --wait"
	for _, tt := range []struct {
		command string
		before  []string
		several bool // it may be interrupted between objects
	}{
		{"drive init /dev/sdd --yes", nil, false},
		{"drive init /dev/sdd /dev/sde --yes", nil, true},
		{"drive remove /dev/sdc --yes", []string{"lun delete spare2 --yes"}, false},
		{"lun create more --size 4MiB", nil, false},
		{"lun create more --size 4MiB --track", nil, false},
		{"lun rename web1 web2", nil, false},
		{"lun extend web1 --by 4MiB", nil, false},
		{"lun extend web1 --by 4MiB", []string{mirror}, false},
		{"lun delete web1 --yes", []string{mirror}, false},
		{"plex add web1 spare --yes", nil, false},
		{"plex add web1 spare2 --yes", []string{mirror}, false},
		{"plex add web1 --drive /dev/sdb", nil, false},
		{"plex split web1 /dev/sdb --name copy", []string{mirror}, false},
		{"plex remove web1 /dev/sdb --yes", []string{mirror}, false},
		{"op set-rate web1 1MiB", []string{"plex add web1 spare --yes --rate paused"}, false},
		{"op cancel web1 --yes", []string{"plex add web1 spare --yes --rate paused"}, false},
		{"assemble", []string{mirror, "deactivate"}, true},
		{"deactivate", []string{mirror}, true},
		{"reenumerate", []string{mirror}, true},
	} {
		t.Run(strings.Join(append(tt.before, tt.command), ", "), func(t *testing.T) {
			t.Parallel()
			rig := newSignalRig(t, tt.before)
			before := rig.fork(t)
			was := before.seen(t)
			whole := rig.fork(t)
			effects, status, _ := whole.interrupted(t, tt.command, -1)
			if effects == 0 && tt.command != "reenumerate" || status != exitDone {
				t.Fatalf("%d effects, exit status %d", effects, status)
			}
			done := whole.seen(t)
			for n := range effects {
				s := rig.fork(t)
				_, status, said := s.interrupted(t, tt.command, n)
				got := s.seen(t)
				switch {
				case status == exitDone && got != done:
					t.Errorf("at effect %d: exit status 0, and not done (-done +is):\n%s", n, cmp.Diff(done, got))
				case status == exitDone:
				case status != exitInterrupted:
					t.Errorf("at effect %d: exit status %d\n%s", n, status, said)
				case got != was && !tt.several:
					t.Errorf("at effect %d: exit status 130, and something has changed (-was +is):\n%s", n, cmp.Diff(was, got))
				}
			}
		})
	}
}

// signalRig is a stage with three drives, LUNs on each, and two disks.
type signalRig struct{ *stage }

func newSignalRig(t *testing.T, before []string) signalRig {
	t.Helper()
	s := newStage(t.TempDir())
	s.speed = 64
	for _, name := range []string{"sda", "sdb", "sdc", "sdd", "sde"} {
		s.mem.AddDisk(blockdev.Info{Path: "/dev/" + name, Size: 24 * size.MiB})
		s.mem.SetOffload("/dev/"+name, true)
	}
	for _, command := range append([]string{
		"drive init /dev/sda /dev/sdb /dev/sdc --yes", "lun create web1 --size 4MiB --drive /dev/sda",
		"lun create spare --size 4MiB --drive /dev/sdb", "lun create spare2 --size 4MiB --drive /dev/sdc",
	}, before...) {
		var talk bytes.Buffer
		if status := s.app(io.Discard, &talk, func() {}).run(t.Context(), strings.Fields(command)); status != 0 {
			t.Fatalf("plexctl %s: exit status %d\n%s", command, status, &talk)
		}
	}
	return signalRig{s}
}

// fork is the rig as it is now.
func (r signalRig) fork(t *testing.T) signalRig {
	t.Helper()
	s := *r.stage
	s.kernel, s.mem = r.kernel.Fork()
	s.lockPath = t.TempDir() + "/lock"
	return signalRig{&s}
}

// interrupted runs a command, interrupts it in front of effect n, and counts its effects.
func (r signalRig) interrupted(t *testing.T, command string, n int) (effects int, status exit, said string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r.mem.OnEffect = func(blocktest.Effect) error {
		if effects == n {
			interrupt()
		}
		effects++
		return nil
	}
	var out, talk bytes.Buffer
	status, _ = r.app(&out, &talk, interrupt).execute(ctx, strings.Fields(command))
	r.mem.OnEffect = nil
	return effects, status, out.String() + talk.String()
}

// seen is what plexctl shows of everything, and which devices are suspended.
func (r signalRig) seen(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	for _, command := range []string{"drive list", "lun list", "op list", "status"} {
		fmt.Fprintln(&out, command, r.app(&out, &out, func() {}).run(t.Context(), strings.Fields(command)))
	}
	devices, err := r.kernel.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		info, err := r.kernel.Info(t.Context(), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Suspended || info.Inactive {
			fmt.Fprintf(&out, "%s suspended %t, inactive table %t\n", d.Name, info.Suspended, info.Inactive)
		}
	}
	return r.normalize(out.String())
}
