package product

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
)

// stateRow is a row of the table of states in docs/administration.md.
type stateRow struct {
	state string   // its name
	shows []string // what status says
	exit  int      // of status
	first string   // what is to be done beside plexctl; empty: nothing
	leads []string // commands that lead out, without plexctl; none: nothing has to be done
}

// stateRows reads the table.
func stateRows(t *testing.T) []stateRow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.Root(), "docs/administration.md"))
	lab.Must(t, err)
	_, section, _ := strings.Cut(string(text), "## Every state, and the way out\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []stateRow
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || strings.Contains(line, "---") || strings.Contains(line, "way out") {
			continue
		}
		row := stateRow{state: strings.TrimSpace(cells[0]), first: strings.TrimSpace(cells[3])}
		row.shows = quoted(cells[1])
		if _, err := fmt.Sscan(cells[2], &row.exit); err != nil || len(row.shows) == 0 {
			t.Fatalf("row %q: %v", line, err)
		}
		for _, c := range quoted(cells[4]) {
			row.leads = append(row.leads, strings.TrimPrefix(c, "plexctl "))
		}
		rows = append(rows, row)
	}
	return rows
}

// quoted is what stands between backticks.
func quoted(cell string) []string {
	var texts []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			texts = append(texts, part)
		}
	}
	return texts
}

// stateRig is a machine whose LUN web1 is brought into a state. What it holds is known.
type stateRig struct {
	*lab.Rig
	disks []*lab.Brittle
	lun   *lun.LUN
	sum   uint64
	names []string // what stands in the table, and what it is here, in turns
	plex  string   // PLEX in the table
	apply func()   // what is to be done beside plexctl
}

// asks is the commands that ask. The table leaves --yes out.
var asks = []string{"plex add", "plex remove", "lun recover web1 --keep", "drive choose", "drive repair", "drive remove", "drive init", "drive take-over", "assemble --force", "assemble --take-over"}

// run runs a command of the table.
func (r *stateRig) run(command string) {
	r.T.Helper()
	yes := slices.ContainsFunc(asks, func(s string) bool { return strings.HasPrefix(command, s) })
	command = strings.NewReplacer(append([]string{"PLEX", r.plex}, r.names...)...).Replace(command)
	args := strings.Fields(command)
	if yes {
		args = append(args, "--yes")
	}
	r.T.Log(r.Run(args...))
}

// newStateRig is three drives, two of them with a plex of web1 if mirrored, and the first one if not.
func newStateRig(t *testing.T, mirrored bool) *stateRig {
	t.Helper()
	lab.HasID(t)
	rig, disks := lab.BrittleRig(t, 3, lab.SmallDrive)
	r := &stateRig{Rig: rig, disks: disks, names: []string{"/dev/sdb", rig.Drives[0], "/dev/sdc", rig.Drives[1], "/dev/sdd", rig.Drives[2]}}
	r.lun = r.Create("web1", lab.SmallLUN, 0)
	if mirrored {
		r.AddOn(r.lun, 1)
		r.plex = r.PlexOn(r.lun, 1).String()
	}
	r.fill("what the LUN holds ")
	return r
}

// holding makes web1 on the first drive of a rig, and fills it.
func holding(rig *lab.Rig) *stateRig {
	r := &stateRig{Rig: rig}
	r.lun = r.Create("web1", lab.SmallLUN, 0)
	r.fill("what the LUN holds ")
	return r
}

// fill writes a text all over the LUN.
func (r *stateRig) fill(text string) {
	r.T.Helper()
	lab.FillWith(r.T, "/dev/mapper/plex-web1", text, lab.SmallLUN)
	r.sum = lab.DeviceSum(r.T, "/dev/mapper/plex-web1")
}

// lose pulls a drive while the LUN is written to.
func (r *stateRig) lose(drive int) {
	r.T.Helper()
	r.disks[drive].Pull()
	r.fill("what one plex misses ")
	r.AwaitLoss("web1", 1)
}

// heal makes a drive work again, as what is to be done beside plexctl.
func (r *stateRig) heal(drive int) { r.apply = r.disks[drive].Heal }

// stop deactivates everything.
func (r *stateRig) stop() {
	r.T.Helper()
	lab.Settle(r.T)
	r.Run("deactivate")
}

// TestStates brings a LUN or a drive into every state of the table of states. Status says what the table says. After the commands of
// the table all is healthy, and the LUN has its data. With udevd it takes four times as long, which waits for the drive that does not
// answer.
//
//gate:kernels others
func TestStates(t *testing.T) {
	rows := stateRows(t)
	known := states()
	for _, row := range rows {
		bring := known[row.state]
		delete(known, row.state)
		if bring == nil {
			t.Errorf("no test brings a LUN into the state %q", row.state)
			continue
		}
		t.Run(strings.ReplaceAll(row.state, " ", "-"), func(t *testing.T) {
			r := bring(t)
			shown := statusOf(r.Rig)
			t.Log(shown)
			r.StatusSays(row.exit, row.shows...)
			if (row.first != "") != (r.apply != nil) {
				t.Fatalf("the table says to do %q first", row.first)
			}
			if r.apply != nil {
				r.apply()
			}
			for _, command := range row.leads {
				r.run(command)
			}
			lab.WaitFor(t, "all to be healthy", lab.SyncLimit, func() bool { return strings.Contains(statusOf(r.Rig), "all is healthy\n") })
			r.StatusSays(0, "all is healthy")
			if r.sum != 0 && lab.DeviceSum(t, "/dev/mapper/plex-web1") != r.sum {
				t.Error("web1 holds something else now")
			}
		})
	}
	for state := range known {
		t.Errorf("the table lacks the state %q", state)
	}
}

// states is what brings a machine into each state.
func states() map[string]func(*testing.T) *stateRig {
	all := map[string]func(*testing.T) *stateRig{}
	for _, part := range []map[string]func(*testing.T) *stateRig{plexStates(), lunStates(), driveStates()} {
		maps.Copy(all, part)
	}
	return all
}

// plexStates is the states of LUNs that serve their data.
func plexStates() map[string]func(*testing.T) *stateRig {
	return map[string]func(*testing.T) *stateRig{
		"all plexes are in sync": func(t *testing.T) *stateRig { return newStateRig(t, true) },
		"the first copy is running": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			r.slowCopy(1)
			return r
		},
		"a further plex is being added": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.slowCopy(2)
			return r
		},
		"a copy is paused": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			_, err := r.lun.AddNewPlex(t.Context(), r.Drives[1:2], lun.AttachOptions{Rate: lun.Paused})
			lab.Must(t, err)
			lab.WaitFor(t, "the copy to begin", 20*time.Second, func() bool { return r.RaidStatus("web1").Action == dm.ActionRecover })
			return r
		},
		"a plex has failed": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.lose(1)
			r.heal(1)
			return r
		},
		"a plex has failed for good": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.lose(1)
			overwriteStart(t, r.disks[1].Loop, "", lab.SmallDrive)
			r.disks[1].Heal()
			return r
		},
		"a plex is out of date": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			r.disks[1].Pull()
			r.Run("assemble", "--force", "web1", "--yes")
			r.fill("what one plex misses ")
			r.disks[1].Heal()
			return r
		},
		"the plexes differ": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			p := r.Record("web1").Plexes[1]
			f, err := os.OpenFile(r.Drives[1], os.O_RDWR|unix.O_SYNC, 0)
			lab.Must(t, err)
			_, err = f.WriteAt(make([]byte, lab.BlockSize), int64(p.Data[0].Start.Bytes()))
			lab.Must(t, err)
			lab.Must(t, f.Close())
			lab.RunTool(t, "dmsetup", "message", "plex-web1", "0", "check")
			lab.WaitFor(t, "the check to end", lab.SyncLimit, func() bool { return r.RaidStatus("web1").Action == dm.ActionIdle })
			return r
		},
		"a plex is leaving, and the change was cut off": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			if killed := lab.Trace(t, lab.InWindow, "plex", "remove", "web1", r.plex, "--yes"); !killed.Killed {
				t.Fatalf("it was not killed: %+v", killed)
			}
			return r
		},
	}
}

// slowCopy adds a plex on a drive that is slow.
func (r *stateRig) slowCopy(drive int) {
	r.T.Helper()
	_, err := r.lun.AddNewPlex(r.T.Context(), r.Drives[drive:drive+1], lun.AttachOptions{Rate: lun.Paused})
	lab.Must(r.T, err)
	lab.WaitFor(r.T, "the copy to begin", 20*time.Second, func() bool { return r.RaidStatus("web1").Action == dm.ActionRecover })
	r.Run("op", "set-rate", "web1", "1MiB")
}

// lunStates is the states of LUNs that do not serve their data, or not where they should.
func lunStates() map[string]func(*testing.T) *stateRig {
	return map[string]func(*testing.T) *stateRig{
		"not active": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			return r
		},
		"not active, and a drive is missing": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			r.disks[1].Pull()
			r.heal(1)
			return r
		},
		"not active, and a drive is gone for good": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			overwriteStart(t, r.Drives[1], "", lab.SmallDrive)
			return r
		},
		"each half was used without the other": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			for _, missing := range []int{0, 1} { // the last one is that with the data
				r.disks[missing].Pull()
				r.Run("assemble", "--force", "web1", "--yes")
				r.fill(fmt.Sprintf("what was written without drive %d ", missing))
				r.stop()
				r.disks[missing].Heal()
			}
			return r
		},
		"its I/O waits": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			lab.RunTool(t, "dmsetup", "suspend", "plex-web1")
			return r
		},
		"the kernel has another table": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			lab.RunTool(t, "dmsetup", "suspend", "plex-web1")
			lab.RunTool(t, "dmsetup", "load", "plex-web1", "--table", fmt.Sprintf("0 %d zero", uint64(lab.SmallLUN.Sectors())))
			lab.RunTool(t, "dmsetup", "resume", "plex-web1")
			return r
		},
		"its drive came back as another device": func(t *testing.T) *stateRig {
			lab.NewLab(t)
			disk := lab.NewSCSI(t, "dev_size_mb=48")
			r := holding(lab.Labelled(t, disk))
			lab.Settle(t)
			lab.PullSCSI(t, disk)
			r.Drives[0] = lab.PlugSCSI(t)
			return r
		},
		"no drive has its record": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			lab.Settle(t)
			r.disks[0].Pull()
			r.heal(0)
			return r
		},
		"its room was being zeroed, and that was cut off": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			if killed := lab.Trace(t, lab.After(9), "lun", "create", "fresh", "--size", "4MiB", "--drive", r.Drives[1], "--track"); !killed.Killed {
				t.Fatalf("it was not killed: %+v", killed)
			}
			return r
		},
		"its drives are another host's": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			r.stop()
			r.givenAway(t)
			return r
		},
	}
}

// givenAway makes the drives of web1 another host's.
func (r *stateRig) givenAway(t *testing.T) {
	t.Helper()
	there, err := lun.Open(t.Context(), lun.Options{Kernel: r.Control, Hosts: []string{"0123456789abcdef0123456789abcdef"}, Guard: lun.Unguarded})
	lab.Must(t, err)
	defer there.Close()
	for _, d := range r.Drives[:2] {
		_, err := there.TakeOver(t.Context(), d)
		lab.Must(t, err)
	}
}
