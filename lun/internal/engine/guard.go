package engine

import (
	"context"
	"os"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Guard starts another process that stands by for a window; see lun.Guard.
type Guard func(ctx context.Context, w Watched) (Post, error)

// Post is a guard that has been started for a window.
type Post struct {
	Ready   func() error // returns when the guard is ready, before the commit. On an error the change is taken back
	Dismiss func()       // sends the guard away, after the window or without one
}

// Watched is what a guard must know.
type Watched struct {
	LUN    uuid.UUID
	Drives []devno.No // all that lun.Provider.Wake needs; other drives may be slow to answer, or lie on the LUN itself
	Lock   *os.File   // the host's lock, which this process holds. A guard that gets the file shares the lock
}

// standBy starts the guard when one of these steps suspends a LUN. The guard must be ready before the step at the index.
func (e *Engine) standBy(ctx context.Context, steps []layout.Step) (post Post, at int, err error) {
	none := Post{Ready: func() error { return nil }, Dismiss: func() {}}
	var window Window
	i := slices.IndexFunc(steps, func(s layout.Step) (is bool) { window, is = s.(Window); return is })
	if i < 0 || e.Guard == nil {
		return none, -1, nil
	}
	l := window.Conv.LUN
	before, _ := e.Record(l.ID)
	if post, err = e.Guard(ctx, Watched{LUN: l.ID, Drives: e.DevicesOf(l, before), Lock: e.Lock}); err != nil {
		return none, -1, fault.Of("guard", record.LUNObject(l.Name), err)
	}
	ready := post.Ready
	post.Ready = func() error { return fault.Of("guard", record.LUNObject(l.Name), ready()) }
	if commit := slices.IndexFunc(steps[:i], isCommit); commit >= 0 {
		i = commit
	}
	return post, i, nil
}

// isCommit reports whether a step makes a change final.
func isCommit(s layout.Step) bool {
	_, ok := s.(Commit)
	return ok
}
