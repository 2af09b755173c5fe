//go:build linux

package dm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/devno"
)

// legs of the tests: 253:1 253:2, 253:3 253:4, …
func testLegs(n int) []Leg {
	legs := make([]Leg, n)
	for i := range legs {
		at := uint32(2*i) + 1
		legs[i] = Leg{Meta: devno.No{Major: 253, Minor: at}, Data: devno.No{Major: 253, Minor: at + 1}}
	}
	return legs
}

func TestRaid1Params(t *testing.T) {
	tests := []struct {
		name string
		raid Raid1
		want string
	}{
		{
			"two legs",
			Raid1{RegionSize: 2048, Legs: testLegs(2)},
			"raid1 3 0 region_size 2048 2 253:1 253:2 253:3 253:4",
		},
		{
			"both rates",
			Raid1{RegionSize: 2048, MinRate: 1, MaxRate: 900, Legs: testLegs(2)},
			"raid1 7 0 region_size 2048 min_recovery_rate 1 max_recovery_rate 900 2 253:1 253:2 253:3 253:4",
		},
		{
			"one rate",
			Raid1{RegionSize: 2048, MaxRate: 900, Legs: testLegs(1)},
			"raid1 5 0 region_size 2048 max_recovery_rate 900 1 253:1 253:2",
		},
		{
			"missing leg",
			Raid1{RegionSize: 2048, Legs: append(testLegs(1), Leg{})},
			"raid1 3 0 region_size 2048 2 253:1 253:2 - -",
		},
		{
			"leg without metadata",
			Raid1{RegionSize: 2048, Legs: []Leg{{Data: devno.No{Major: 7}}}},
			"raid1 3 0 region_size 2048 1 - 7:0",
		},
		{"default regions", Raid1{Legs: testLegs(1)}, "raid1 1 0 1 253:1 253:2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.raid.Params(); got != tt.want {
				t.Errorf("params = %q, want %q", got, tt.want)
			}
			back, err := ParseTarget("raid", tt.want)
			if diff := cmp.Diff(Target(tt.raid), back); err != nil || diff != "" {
				t.Errorf("parsed back: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseTarget(t *testing.T) {
	const legs = " 2 253:1 253:2 253:3 253:4"
	other := func(name, args string) Target { return Other{Name: name, Args: args} }
	tests := []struct {
		name   string
		typ    string
		params string
		want   Target
	}{
		{"linear", "linear", "8:16 2048", Linear{Dev: devno.No{Major: 8, Minor: 16}, Offset: 2048}},
		{"linear on a large minor", "linear", "259:1048575 0", Linear{Dev: devno.No{Major: 259, Minor: 1048575}}},
		{
			"raid1 in the kernel's order", "raid", "raid1 7 0 min_recovery_rate 1 max_recovery_rate 900 region_size 2048" + legs,
			Raid1{RegionSize: 2048, MinRate: 1, MaxRate: 900, Legs: testLegs(2)},
		},
		{
			"raid1 in another order", "raid", "raid1 5 0 max_recovery_rate 900 region_size 2048" + legs,
			Raid1{RegionSize: 2048, MaxRate: 900, Legs: testLegs(2)},
		},
		{
			"raid1 with a rebuild", "raid", "raid1 5 0 rebuild 1 region_size 2048" + legs,
			other("raid", "raid1 5 0 rebuild 1 region_size 2048"+legs),
		},
		{"raid1 with nosync", "raid", "raid1 2 0 nosync" + legs, other("raid", "raid1 2 0 nosync"+legs)},
		{"raid1 with a chunk size", "raid", "raid1 1 128" + legs, other("raid", "raid1 1 128"+legs)},
		{"raid5", "raid", "raid5_la 1 128 3 - 8:1 - 8:2 - 8:3", other("raid", "raid5_la 1 128 3 - 8:1 - 8:2 - 8:3")},
		{"raid of nothing", "raid", "", other("raid", "")},
		{"striped", "striped", "2 128 8:1 0 8:2 0", other("striped", "2 128 8:1 0 8:2 0")},
		{"error", "error", "", other("error", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTarget(tt.typ, tt.params)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("target: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseTargetRefuses(t *testing.T) {
	const legs = " 2 253:1 253:2 253:3 253:4"
	tests := []struct {
		name   string
		typ    string
		params string
		text   string
	}{
		{"linear without an offset", "linear", "8:16", "1 words"},
		{"linear with more", "linear", "8:16 0 0", "3 words"},
		{"linear on a name", "linear", "sdb 0", `device "sdb"`},
		{"linear on nothing", "linear", "0:0 0", `device "0:0"`},
		{"linear on a minor of 33 bits", "linear", "8:4294967296 0", `device "8:4294967296"`},
		{"linear at a negative offset", "linear", "8:16 -1", "-1"},
		{"raid1 without a count", "raid", "raid1", "options: no count"},
		{"raid1 with a count of zero", "raid", "raid1 0" + legs, "count of 0"},
		{"raid1 with a count too large", "raid", "raid1 70 0" + legs, "count of 70"},
		{"raid1 with a count no number", "raid", "raid1 x 0" + legs, "options: strconv"},
		{"raid1 without legs", "raid", "raid1 1 0", "legs: no count"},
		{"raid1 with no leg", "raid", "raid1 1 0 0", "count of 0"},
		{"raid1 with half a leg", "raid", "raid1 1 0 2 253:1 253:2 253:3", "legs: 3 words for a count of 2"},
		{"raid1 with words behind", "raid", "raid1 1 0" + legs + " x", "1 words behind the legs"},
		{"raid1 with an option twice", "raid", "raid1 5 0 region_size 8 region_size 8" + legs, "region_size without a value or twice"},
		{"raid1 with half an option", "raid", "raid1 2 0 region_size" + legs, "region_size without a value or twice"},
		{"raid1 with a value no number", "raid", "raid1 3 0 region_size 8k" + legs, "8k"},
		{"raid1 with a value too large", "raid", "raid1 3 0 region_size 9223372036854775808" + legs, "value out of range"},
		{"raid1 with metadata and no data", "raid", "raid1 1 0 1 253:1 -", "leg 0: metadata without data"},
		{"raid1 on a path", "raid", "raid1 1 0 1 - /dev/sdb", `leg 0: device "/dev/sdb"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTarget(tt.typ, tt.params)
			if err == nil || got != nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("target = %v, error = %v, want an error with %q", got, err, tt.text)
			}
		})
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("linear", "8:16 2048")
	f.Add("raid", "raid1 7 0 min_recovery_rate 1 max_recovery_rate 900 region_size 2048 2 253:1 253:2 - -")
	f.Add("raid", "raid1 3 0 rebuild 1 1 - 7:0")
	f.Add("striped", "2 128 8:1 0 8:2 0")
	f.Fuzz(func(t *testing.T, typ, params string) {
		target, err := ParseTarget(typ, params)
		if err != nil {
			return
		}
		if target.Type() != typ {
			t.Errorf("type = %q, want %q", target.Type(), typ)
		}
		again, err := ParseTarget(typ, target.Params())
		if diff := cmp.Diff(target, again); err != nil || diff != "" {
			t.Errorf("%q printed and parsed again: %v (-want +got):\n%s", params, err, diff)
		}
	})
}
