package crash

import (
	"strings"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// What the operations under broken legs agree on: a copy that takes a second or two.
const (
	legLength = 6 * size.MiB
	legRate   = 4 * size.MiB
)

// legOp is an operation on the LUN web1, whose legs are on drives of their own.
type legOp struct {
	name   string
	plexes int                                 // of web1 before it
	legs   map[string]int                      // the drive of the target and the one of the source, or of the plex that it is about
	before func(s *legLab)                     // what else has to be there
	call   func(s *legLab) error               // what is disturbed
	states []string                            // what the LUNs may be in the end, see legLab.census
	spares func(c legCase, census string) bool // whether no write may fail: a leg with the data was good all the while
	codes  []vds.Code                          // what it may end with besides legCodes
}

// legCodes are the codes with which any operation may end when a drive fails. A LUN none of whose drives can be read is not
// found, or is gone for those that have a handle on it.
var legCodes = []vds.Code{
	vds.ErrIO, vds.ErrObjectStatusFailed, vds.ErrDiskConfigurationNotSaved, vds.ErrAnotherCallInProgress, vds.ErrProviderFailure,
	vds.ErrObjectNotFound, vds.ErrObjectDeleted,
}

// legOps are the operations. Of most, the target's drive is the first one.
func legOps() []legOp {
	pair := map[string]int{"target": 0, "source": 1}
	onlyTarget := func(c legCase, _ string) bool { return c.leg == "source" }
	always := func(legCase, string) bool { return true }
	// A leg that was lost before the call, or while the other one stayed, must not be the one that stays.
	unlessTargetStays := func(c legCase, census string) bool {
		lost := c.moment == beforeCall && (c.kind == "pulled" || c.kind == "worn out")
		return c.leg == "source" || lost || strings.HasSuffix(census, "web1:2")
	}
	beside := map[string]int{"target": 0, "source": 2}
	attached, split := []string{"spare:1 web1:1", "web1:2"}, []string{"monday:1 web1:1", "web1:2"}
	lastActive := []vds.Code{vds.ErrPlexLastActive}
	return []legOp{
		{"attach", 1, pair, (*legLab).spare, (*legLab).attach, attached, onlyTarget, nil},
		{"attach to a mirror", 2, beside, (*legLab).spare, (*legLab).attach, []string{"spare:1 web1:2", "web1:3"}, always, nil},
		{"cancel", 1, pair, (*legLab).copying, (*legLab).cancel, attached, onlyTarget, []vds.Code{vds.ErrCancelTooLate}},
		{"set-rate", 1, pair, (*legLab).copying, (*legLab).setRate, []string{"web1:2"}, onlyTarget, []vds.Code{vds.ErrInvalidOperation}},
		{"remove", 2, pair, (*legLab).nothing, (*legLab).remove, []string{"web1:1", "web1:2"}, unlessTargetStays, lastActive},
		{"split", 2, pair, (*legLab).nothing, (*legLab).split, split, unlessTargetStays, lastActive},
		{"recover", 2, pair, (*legLab).lagging, (*legLab).recover, []string{"web1:2"}, onlyTarget, nil},
		{"extend", 2, pair, (*legLab).nothing, (*legLab).extend, []string{"web1:2", "web1+:2"}, always, nil},
		{"restart", 2, pair, (*legLab).nothing, (*legLab).restart, []string{"web1:2"}, always, nil},
	}
}

// legKinds are the ways in which a drive fails.
func legKinds() map[string]func(b *lab.Brittle) dm.Table {
	return map[string]func(b *lab.Brittle) dm.Table{
		"pulled":     (*lab.Brittle).Pulled,
		"worn out":   (*lab.Brittle).WornOut,
		"flickering": (*lab.Brittle).Flickering,
		"slow":       func(b *lab.Brittle) dm.Table { return b.Slow(30 * time.Millisecond) },
	}
}

func (s *legLab) nothing() {}

// spare makes the LUN that is to become a plex.
func (s *legLab) spare() {
	s.Create("spare", legLength+size.MiB, s.c.op.legs["source"])
}

func (s *legLab) attach() error {
	spare, err := s.Provider.LUN("spare")
	if err != nil {
		return err
	}
	s.op, err = s.LUN.AddPlex(s.t.Context(), spare.ID(), lun.AttachOptions{Rate: legRate})
	return err
}

// copying leaves an attach in the middle.
func (s *legLab) copying() {
	s.spare()
	lab.Must(s.t, s.attach())
}

func (s *legLab) cancel() error { return s.op.Cancel(s.t.Context()) }

func (s *legLab) setRate() error { return s.LUN.SetRate(s.t.Context(), 2*legRate) }

func (s *legLab) remove() error {
	_, err := s.LUN.RemovePlex(s.t.Context(), s.plex)
	return err
}

func (s *legLab) split() error {
	_, err := s.LUN.Split(s.t.Context(), s.plex, "monday")
	return err
}

// lagging lets the second leg miss something.
func (s *legLab) lagging() {
	s.brittle[1].WearOut()
	s.AwaitLoss("web1", 1)
	s.More(30)
	s.brittle[1].Heal()
}

func (s *legLab) recover() error {
	_, err := s.LUN.Recover(s.t.Context())
	return err
}

func (s *legLab) extend() error {
	_, err := s.LUN.Extend(s.t.Context(), 2*size.MiB, nil)
	return err
}

// restart takes the LUN down and starts it again, which the writer waits for.
func (s *legLab) restart() error {
	s.Writer.Stop()
	err := firstError(s.Provider.Deactivate(s.t.Context()))
	if again := firstError(s.Provider.Assemble(s.t.Context(), lun.AssembleOptions{})); again != nil {
		err = again
	}
	return err
}

// firstError is what went wrong with all LUNs, or with the first one with which something did.
func firstError(results []lun.Result, err error) error {
	for _, result := range results {
		if err == nil {
			err = result.Err
		}
	}
	return err
}
