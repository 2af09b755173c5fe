package lun

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/standby"
)

// Guard starts another process for a window in which a LUN is suspended. If this process dies in the window, the other one
// calls Provider.Wake, which resumes the LUN. If this process stands still there, the other one calls Provider.Overtake. Guard is
// called when a change begins, and does not wait until the process is ready.
type Guard = engine.Guard

// Post is a guard that has been started for a window: functions that wait for it and send it away.
type Post = engine.Post

// Window is what a guard must know: the LUN, the drives that Wake needs, and the host's lock.
type Window = engine.Watched

// BeGuard makes this process the guard of another one, if it was started as that, and reports whether it was. A program that uses
// this package calls BeGuard first in its main function, and returns if it says true:
//
//	func main() {
//		if lun.BeGuard() {
//			return
//		}
//
// In a window a LUN is suspended, so a process that is killed or stopped just then would leave the LUN's users waiting. A second
// process resumes the LUN then. It is the same program, started again from /proc/self/exe.
func BeGuard() bool { return standby.Guards() }

// StandBy is the Guard that is used by default: it starts this program again. See BeGuard.
func StandBy(ctx context.Context, w Window) (Post, error) { return standby.Start(ctx, w) }

// Unguarded is a Guard that starts nothing, for tests: a LUN stays suspended when the process dies in a window, until the next
// Assemble.
func Unguarded(context.Context, Window) (Post, error) {
	return Post{Ready: func() error { return nil }, Dismiss: func() {}}, nil
}

// Wake resumes a LUN that an interrupted change has left suspended. The next change of that LUN, or Assemble, completes the
// change. Wake does nothing to a LUN that is not suspended or does not exist. It needs only the drives of this LUN. It waits
// while another process makes a change.
func (p *Provider) Wake(ctx context.Context, id uuid.UUID) error { return ops.Resume(ctx, p.env, id) }

// Overtake resumes a LUN in place of a process that lives and does not go on in its window. It reports whether it did so. The
// other process takes its change back when it goes on. Overtake takes no lock: the caller must share that of the other
// process (Window.Lock). The other process must wait for the caller's end before it changes anything else.
func (p *Provider) Overtake(ctx context.Context, id uuid.UUID) (bool, error) {
	return ops.Overtake(ctx, p.env, id)
}
