package layout

import (
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

func TestFitOf(t *testing.T) {
	a, b, gone := uuid.New(), uuid.New(), uuid.New()
	here := Numbers{Drives: map[uuid.UUID]devno.No{a: {Major: 8}, b: {Major: 8, Minor: 16}}}
	runs := []Run{{a, 2048, 100}, {b, 4096, 50}}
	segment := func(start, length size.Sectors, minor uint32, offset size.Sectors) dm.Segment {
		return dm.Segment{Start: start, Length: length, Target: dm.Linear{Dev: devno.No{Major: 8, Minor: minor}, Offset: offset}}
	}
	first, second := segment(0, 100, 0, 2048), segment(100, 50, 16, 4096)
	tests := []struct {
		name  string
		runs  []Run
		table dm.Table
		want  Fit
		stray Stray
	}{
		{"the same", runs, dm.Table{first, second}, Fits, Stray{}},
		{"another device", runs, dm.Table{first, segment(100, 50, 32, 4096)}, Moved, Stray{b, devno.No{Major: 8, Minor: 32}}},
		{"another offset", runs, dm.Table{first, segment(100, 50, 16, 4097)}, Elsewhere, Stray{}},
		{"another offset of another device", runs, dm.Table{segment(0, 100, 32, 2048), segment(100, 50, 16, 99999)}, Elsewhere, Stray{a, devno.No{Major: 8, Minor: 32}}},
		{"another length", runs, dm.Table{first, segment(100, 51, 16, 4096)}, Elsewhere, Stray{}},
		{"a part", runs, dm.Table{first}, Elsewhere, Stray{}},
		{"nothing", runs, nil, Elsewhere, Stray{}},
		{"another target", runs[:1], dm.Table{{Length: 100, Target: dm.Other{Name: "zero"}}}, Elsewhere, Stray{}},
		{"a drive that is not here", []Run{{gone, 2048, 100}}, dm.Table{first}, Fits, Stray{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, stray := FitOf(tt.runs, tt.table, here)
			if got != tt.want || stray != tt.stray {
				t.Errorf("%v %v, want %v %v", got, stray, tt.want, tt.stray)
			}
		})
	}
}
