package lun_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/internal/sweep"
)

// TestSignals ends every operation with a signal in front of each of its effects, and before the first. That is what Ctrl-C, SIGTERM
// and SIGHUP do: they end the context. The process goes on. The operation is made whole or taken back then: nothing is suspended, and
// the machine is as before or as after, without anybody who repairs it. An operation that says that it is done is done.
//
// The operations are those of TestCrash. With PLEXCTL_SWEEP set every point is taken, and a new process looks at what is left.
// Otherwise it looks at some, and takes one point in three, or in nine of scenarios on good drives.
func TestSignals(t *testing.T) {
	percent, limit := debug.SetGCPercent(2000), debug.SetMemoryLimit(3<<30) // many small machines, each soon forgotten
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	for _, p := range newPlays(t) {
		t.Run(p.name+" on "+string(p.release), func(t *testing.T) {
			t.Parallel()
			m := p.machineAt(t, p.lock)
			whole := p.complete(t, m)
			for n := -1; n < whole.effects && !t.Failed(); n++ {
				every := 3
				if p.good != nil {
					every = 9 // the others are similar
				}
				if !sweep.On() && (n+int(p.number))%every > 0 {
					continue
				}
				synctest.Test(t, func(t *testing.T) { p.signalled(t, m, whole, n) })
			}
		})
	}
}

// signalled sends a signal in front of effect n of the operation, and before it begins when n is negative.
func (p *play) signalled(t *testing.T, m machine, whole course, n int) {
	t.Helper()
	w := p.world(t, m)
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	if n < 0 {
		signal()
	}
	where := fmt.Sprintf("a signal before effect %d", n)
	seen := 0
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if seen == n {
			where += fmt.Sprintf(" (%s %s)", e.Kind, e.Object)
			signal()
		}
		seen++
		return nil
	}
	w.t = interrupted{t, ctx}
	err := p.act(w)
	w.t, w.mem.OnEffect = t, nil
	w.notSuspended()
	switch got := w.shape(); {
	case !whole.allows(got):
		t.Errorf("%s: %v, and the machine is\n%snot as before\n%sand not as after\n%s", where, err, got, whole.before, whole.after)
	case err == nil && lasting(got) != lasting(whole.after):
		t.Errorf("%s: the operation says that it is done, and the machine is\n%snot\n%s", where, got, whole.after)
	case err != nil && !errors.Is(err, context.Canceled):
		t.Errorf("%s: %v, which does not say that it was interrupted", where, err)
	}
	if sweep.On() || (n+int(p.number))%8 == 0 {
		p.recovered(w, whole, where)
	}
}

// interrupted is a test whose context ends with a signal.
type interrupted struct {
	testing.TB
	ctx context.Context
}

// Context is that of the operation.
func (i interrupted) Context() context.Context { return i.ctx }
