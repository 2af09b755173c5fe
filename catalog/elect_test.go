package catalog

import (
	"fmt"
	"slices"
	"testing"
)

// TestNextAboveAWitness has the next version of a LUN above a witness that does not count, because the drive that has it may be the
// only one that is there later. It says that the LUN's own drive had an older one.
func TestNextAboveAWitness(t *testing.T) {
	one := testLUN(1, 3, testPlex(1, 1, 4, 8))
	witness := one
	witness.Generation, witness.Behind = 7, 5
	s := Merge([]Drive{drive(1, one), drive(2, witness)})
	if s.LUNs[0].Generation != 3 {
		t.Errorf("generation %d wins, want 3", s.LUNs[0].Generation)
	}
	next := s.Next(s.LUNs[0])
	above := next.Above(9)
	got := [4]uint64{next.Generation, next.Behind, above.Generation, above.Behind}
	if got != [4]uint64{8, 4, 10, 6} {
		t.Errorf("generations, and behind by: %v", got)
	}
}

// TestAFailedChangeOverridesNone has a change and its taking back reach one drive alone, which is away when the LUN is changed again.
func TestAFailedChangeOverridesNone(t *testing.T) {
	target, source := testLUN(1, 2, testPlex(1, 1, 4, 8)), testLUN(2, 1, testPlex(2, 2, 4, 8))
	s := Merge([]Drive{drive(1, target), drive(2, source), drive(3)})
	put := []LUN{s.Next(attach(target, source))}
	reached := drive(2, s.Apply(driveID(2), put...)...)
	s = Merge([]Drive{drive(1, target), reached, drive(3)})
	reached = drive(2, s.Apply(driveID(2), s.TakeBack(put, []LUN{target, source})...)...)

	for _, changes := range []int{1, 2, 3} {
		first, l := drive(1, target), target
		for i := range changes {
			alone := Merge([]Drive{first, drive(3)})
			l = alone.Next(named(alone.LUNs[0], fmt.Sprint("changed", i)))
			first = drive(1, alone.Apply(driveID(1), l)...)
		}
		all := []Drive{first, reached, drive(3)}
		if got := Merge(all); len(got.Problems) > 0 || !slices.Equal(names(got), []string{fmt.Sprintf("%s@%d", l.Name, l.Generation), "lun2@2"}) {
			t.Errorf("after %d changes: %v, luns %v", changes, got.Problems, names(got))
		}
		checkAtHome(t, "healed", settled(t, "healed", all))
	}
}
