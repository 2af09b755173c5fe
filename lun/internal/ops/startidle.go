package ops

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// startIdle starts LUNs that only need their devices. It begins the runs of all mirrors with one commit.
func startIdle(ctx context.Context, s *Session, idle []catalog.LUN) []Result {
	next, errs := make([]catalog.LUN, len(idle)), make([]error, len(idle))
	mirror := func(l catalog.LUN) bool { return len(l.Plexes) > 1 }
	s.each(idle, func(s *Session, i int, l catalog.LUN) {
		next[i] = l
		if errs[i] = s.CheckNames("start", l.Name, l, freeName); errs[i] == nil && mirror(l) {
			next[i], errs[i] = s.Begin(ctx, l)
		}
	})
	var begun []catalog.LUN
	for i, l := range next {
		if mirror(l) && errs[i] == nil {
			begun = append(begun, l)
		}
	}
	commit := func(luns ...catalog.LUN) error {
		if len(luns) == 0 {
			return nil
		}
		tx := &host.Transaction{Put: luns, Each: true}
		return s.Run(ctx, []layout.Step{engine.Commit{Tx: tx, Text: startText(luns)}})
	}
	if commit(begun...) != nil { // one drive must not keep the LUNs on others from starting
		for i, l := range next {
			if mirror(l) && errs[i] == nil {
				errs[i] = commit(l)
			}
		}
	}
	results := make([]Result, len(idle))
	s.each(next, func(s *Session, i int, l catalog.LUN) {
		if errs[i] == nil {
			errs[i] = s.bringUpIdle(ctx, l, mirror(l))
		}
		results[i] = result("assemble", l, errs[i])
	})
	return results
}

func startText(luns []catalog.LUN) string {
	if len(luns) == 1 {
		return luns[0].Name + " starts"
	}
	return fmt.Sprintf("%d mirrors start", len(luns))
}

func (s *Session) bringUpIdle(ctx context.Context, l catalog.LUN, begun bool) error {
	if begun {
		return s.BringUpReady(ctx, l)
	}
	return s.BringUp(ctx, l)
}
