package ops_test

import (
	"testing"

	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// The kernel's word alone ends no operation.
func TestTheEndIsProven(t *testing.T) {
	tests := map[string]struct {
		edit func(s *raidmeta.Super)
		want bool
	}{
		"all in sync":        {func(*raidmeta.Super) {}, true},
		"one called failed":  {func(s *raidmeta.Super) { s.FailedDevices = 4 }, false},
		"filled in part":     {func(s *raidmeta.Super) { s.RecoveryOffset = 64 }, false},
		"made equal in part": {func(s *raidmeta.Super) { s.ResyncOffset = 64 }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3)
			slots := []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1), fixture.Slot(2)}
			test.edit(&slots[1].Super)
			h, _ := fixture.Host(t, l, slots)
			seen, known, err := ops.ObserveOperation(t.Context(), h, l)
			if done := seen.State == resync.Done; err != nil || !known || done != test.want {
				t.Errorf("state %q, %v; want done: %v", seen.State, err, test.want)
			}
		})
	}
}
