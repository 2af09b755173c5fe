package product

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// TestRaceAddPlex has two processes add the same pair of LUNs to each other, by turns both in the same direction and one in
// each. In every round exactly one of them wins, the other one gets a documented code, and when the winner's operation is
// cancelled everything is as it was. 10 rounds, or as many as a sweep has time for.
//
//gate:kernels bare
func TestRaceAddPlex(t *testing.T) {
	length, _ := sweep.Time(t)
	end := time.Now().Add(length)
	r := lab.NewSmallRig(t, 2)
	r.Create("a", lab.BusyLength, 0)
	r.Create("b", lab.BusyLength, 1)
	luns, tables, room := r.LUNs(), r.Tables(), [2]any{r.Free(0), r.Free(1)}
	lost := map[string]int{}
	round := 0
	for ; round < 10 || time.Now().Before(end); round++ {
		pairs := [2][]string{{"a", "b"}, {"a", "b"}}
		if round%2 == 1 {
			pairs[1] = []string{"b", "a"}
		}
		winner, code := race(r, pairs)
		lost[code.String()]++
		r.Refresh()
		op, err := r.Provider.Operation(pairs[winner][0])
		lab.Must(t, err)
		lab.Must(t, op.Cancel(t.Context()))
		if round%10 == 0 || t.Failed() {
			r.GaveBack(luns, tables)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	r.GaveBack(luns, tables)
	if diff := cmp.Diff(room, [2]any{r.Free(0), r.Free(1)}); diff != "" {
		t.Errorf("room (-before +after):\n%s", diff)
	}
	t.Logf("codes of those that lost: %v", lost)
	t.Logf("SWEEP races sequences=%d", round)
}

// race runs two commands at once, and returns which one won and the code of the other.
func race(r *lab.Rig, pairs [2][]string) (winner int, code vds.Code) {
	r.T.Helper()
	var cmds [2]*exec.Cmd
	var out [2]bytes.Buffer
	for i, names := range pairs {
		cmds[i] = exec.Command("plexctl", "plex", "add", names[0], names[1], "--rate", "paused", "--yes", "-v")
		cmds[i].Stdout, cmds[i].Stderr = &out[i], &out[i]
		if err := cmds[i].Start(); err != nil {
			r.T.Fatal(err)
		}
	}
	var status [2]int
	for i, cmd := range cmds {
		status[i] = lab.ExitStatus(cmd.Wait())
	}
	for i, said := range status {
		if said != 0 {
			continue
		}
		for _, code := range []vds.Code{vds.ErrObjectNotFound, vds.ErrObjectDeleted, vds.ErrAnotherCallInProgress} {
			if status[1-i] == lab.ExitStatuses[code] && strings.Contains(out[1-i].String(), code.String()) {
				return i, code
			}
		}
	}
	r.T.Fatalf("exit statuses %v, want one that won and one with a documented code:\n%s\n%s", status, &out[0], &out[1])
	return 0, 0
}

// hung is a plexctl that has stopped while it holds the lock.
type hung struct {
	cmd *exec.Cmd
}

// newHung starts a change on a slow drive and stops it in the middle. A change holds the lock for seconds there.
func newHung(t *testing.T, args ...string) hung {
	t.Helper()
	cmd := exec.Command("plexctl", args...)
	lab.Must(t, cmd.Start())
	h := hung{cmd}
	t.Cleanup(func() { h.kill() })
	lab.WaitFor(t, "plexctl to take the lock", 30*time.Second, func() bool {
		text, err := os.ReadFile(lun.DefaultLockPath)
		return err == nil && strings.HasPrefix(string(text), fmt.Sprintf("%d ", cmd.Process.Pid))
	})
	lab.Must(t, cmd.Process.Signal(unix.SIGSTOP))
	return h
}

// kill ends the process as kill -9 does.
func (h hung) kill() {
	_ = h.cmd.Process.Kill() // or it has ended
	_ = h.cmd.Wait()
}

// TestLockHeldByAHungProcess stops a plexctl in the middle of a change: readers read, another changer gives up in its own
// time and says who is in the way, and when the holder is killed the next one goes on from what it has left.
func TestLockHeldByAHungProcess(t *testing.T) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "slow", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), lab.NewLoop(t, lab.SmallDrive, 512), f.Path)
	target, _ := r.Busy("web1", 0, 1)
	r.Create("doomed", lab.SmallLUN, 2)
	f.SlowDown(time.Second)
	h := newHung(t, "lun", "delete", "doomed", "--yes")

	t.Run("readers read", func(t *testing.T) { readersRead(t, r) })
	t.Run("a changer names the holder", func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		began := time.Now()
		err := target.Rename(ctx, "web2")
		holder := fmt.Sprintf("process %d (delete lun", h.cmd.Process.Pid)
		if !errors.Is(err, vds.ErrAnotherCallInProgress) || !strings.Contains(err.Error(), holder) {
			t.Errorf("rename: %v, want VDS_E_ANOTHER_CALL_IN_PROGRESS that names %q", err, holder)
		}
		if took := time.Since(began); took < 400*time.Millisecond || took > 5*time.Second {
			t.Errorf("gave up after %v, want about half a second", took)
		}
	})
	t.Run("its end frees the lock", func(t *testing.T) {
		h.kill()
		f.Heal()
		lab.Must(t, target.Rename(t.Context(), "web2"))
		r.Assemble()
		r.Run("op", "cancel", "web2", "--yes")
		r.Readable()
	})
}

// readersRead runs every command that only looks, none of which waits for the lock.
func readersRead(t *testing.T, r *lab.Rig) {
	t.Helper()
	for _, args := range [][]string{
		{"status"},
		{"lun", "list"},
		{"lun", "show", "web1"},
		{"plex", "list", "web1"},
		{"op", "list"},
		{"op", "show", "web1"},
		{"drive", "list"},
		{"refresh"},
	} {
		began := time.Now()
		out, err := lab.TryTool(t, "plexctl", args...)
		if status := lab.ExitStatus(err); status != 0 && (args[0] != "status" || status != 20) {
			t.Errorf("plexctl %s: exit status %d\n%s", strings.Join(args, " "), status, out)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("plexctl %s took %v", strings.Join(args, " "), took)
		}
	}
	r.Readable()
}

// TestLockDryRun plans a change while somebody else holds the lock, which it does not need.
//
//gate:kernels bare
func TestLockDryRun(t *testing.T) {
	r, target, source := lab.Pair(t)
	lock, err := hostlock.Acquire(t.Context(), lun.DefaultLockPath, "hold the lock")
	lab.Must(t, err)
	defer lock.Unlock()
	before := r.State(lab.Everything)
	if out := r.Run(append(lab.AddArgs(target, source.ID().String()), "--dry-run")...); !strings.Contains(out, "COMMIT") {
		t.Errorf("the plan has no commit:\n%s", out)
	}
	r.Unchanged(lab.Everything, before)
}
