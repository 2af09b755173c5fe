package raid1_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/vds"
)

func TestNeeded(t *testing.T) {
	two := fixture.Mirrored(2)
	filling := fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3)
	legs := func(letters string) *raid1.LegState {
		st := fixture.Legs(letters, fixture.AsTheyAre)
		st.Status = dm.RaidStatus{Action: dm.ActionIdle, Health: make([]dm.LegHealth, len(letters))}
		for i := range letters {
			st.Status.Health[i] = dm.LegHealth(letters[i])
		}
		return &st
	}
	copying := legs("AA")
	copying.Status.Action = dm.ActionRecover
	tests := map[string]struct {
		l    catalog.LUN
		r    raid1.Running
		want raid1.Need
	}{
		"not active":                     {two, raid1.Running{}, raid1.NeedStart},
		"the wanted table":               {two, raid1.Running{Live: true, Matches: true}, raid1.NeedNothing},
		"another table":                  {two, raid1.Running{Live: true}, raid1.NeedLegs},
		"an operation runs":              {filling, raid1.Running{Live: true, Matches: true}, raid1.NeedLegs},
		"an operation, just resumed":     {filling, raid1.Running{Live: true, Matches: true, Revived: true}, raid1.NeedNothing},
		"a linear LUN is suspended":      {fixture.Single(), raid1.Running{Live: true, Matches: true, Suspended: true}, raid1.NeedNothing},
		"the first resume has failed":    {two, raid1.Running{Live: true, Matches: true, Suspended: true}, raid1.NeedLegs},
		"left paused":                    {two, raid1.Running{Live: true, Matches: true, Paused: true}, raid1.NeedLegs},
		"the copy goes on":               {filling, raid1.Running{Live: true, Matches: true, Legs: legs("AAa")}, raid1.NeedNothing},
		"the target was dropped":         {filling, raid1.Running{Live: true, Matches: true, Legs: legs("AAD")}, raid1.NeedSwap},
		"dropped, on the current slots":  {filling, raid1.Running{Live: true, Matches: true, Legs: legs("AAD")}, raid1.NeedSwap},
		"failed, on the current slots":   {two, raid1.Running{Live: true, Matches: true, Suspended: true, Legs: legs("AA")}, raid1.NeedSwap},
		"left paused, nothing to copy":   {two, raid1.Running{Live: true, Matches: true, Paused: true, Legs: legs("AA")}, raid1.NeedNothing},
		"left paused in mid-copy":        {two, raid1.Running{Live: true, Matches: true, Paused: true, Legs: copying}, raid1.NeedSwap},
		"another, on the current slots":  {two, raid1.Running{Live: true, Legs: legs("AA")}, raid1.NeedSwap},
		"another, of a LUN of one plex":  {fixture.Single(), raid1.Running{Live: true, Legs: &raid1.LegState{Live: true, Sole: uuid.Nil}}, raid1.NeedSwap},
		"another, on slots of no record": {two, raid1.Running{Live: true, Legs: legs("AA")}, raid1.NeedSwap},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := raid1.Needed(test.l, test.r); got != test.want {
				t.Errorf("needs %d, want %d", got, test.want)
			}
		})
	}
}
