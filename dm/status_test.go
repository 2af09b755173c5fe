//go:build linux

package dm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raidStatusLines is lines that kernels have printed, and what they mean.
var raidStatusLines = []struct {
	name     string
	line     string
	want     RaidStatus
	complete bool
}{
	{
		"in sync", "raid1 2 AA 65536/65536 idle 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 65536, Total: 65536, Action: ActionIdle},
		true,
	},
	{
		"being filled", "raid1 2 Aa 4096/65536 recover 0 0 -",
		RaidStatus{Health: []LegHealth("Aa"), Done: 4096, Total: 65536, Action: ActionRecover},
		false,
	},
	{
		"not started or aborted", "raid1 2 Aa 65536/65536 idle 0 0 -",
		RaidStatus{Health: []LegHealth("Aa"), Done: 65536, Total: 65536, Action: ActionIdle},
		false,
	},
	{
		"failed leg", "raid1 2 AD 65536/65536 idle 0 0 -",
		RaidStatus{Health: []LegHealth("AD"), Done: 65536, Total: 65536, Action: ActionIdle},
		false,
	},
	{
		"missing leg", "raid1 2 A- 65536/65536 idle 0 0 -",
		RaidStatus{Health: []LegHealth("A-"), Done: 65536, Total: 65536, Action: ActionIdle},
		false,
	},
	{
		"first resync", "raid1 2 aa 0/65536 resync 0 0 -",
		RaidStatus{Health: []LegHealth("aa"), Total: 65536, Action: ActionResync},
		false,
	},
	{
		"interrupted resync goes on", "raid1 2 AA 1024/65536 repair 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 1024, Total: 65536, Action: ActionRepair},
		false,
	},
	{
		"in sync but at work", "raid1 2 AA 65536/65536 check 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 65536, Total: 65536, Action: ActionCheck},
		false,
	},
	{
		"suspended", "raid1 2 AA 0/65536 frozen 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Total: 65536, Action: ActionFrozen},
		false,
	},
	{
		"mismatches of a check", "raid1 2 AA 65536/65536 idle 1024 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 65536, Total: 65536, Action: ActionIdle, Mismatches: 1024},
		true,
	},
	{
		"reshape", "raid1 2 AA 0/65536 reshape 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Total: 65536, Action: ActionReshape},
		false,
	},
	{
		"undef", "raid1 2 AA 65536/65536 undef 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 65536, Total: 65536, Action: ActionUndef},
		false,
	},
	{
		"more legs than the kernel counts", "raid1 2 AAa 64/128 recover 0 0 -",
		RaidStatus{Health: []LegHealth("AAa"), Done: 64, Total: 128, Action: ActionRecover},
		false,
	},
	{
		"fewer legs than the kernel counts", "raid1 3 AA 128/128 idle 0 0 -",
		RaidStatus{Health: []LegHealth("AA"), Done: 128, Total: 128, Action: ActionIdle},
		true,
	},
	{
		"before 1.5.0", "raid1 2 AA 128/128",
		RaidStatus{Health: []LegHealth("AA"), Done: 128, Total: 128, Action: ActionUndef},
		false,
	},
	{
		"before 1.9.0", "raid1 2 AA 128/128 idle 0",
		RaidStatus{Health: []LegHealth("AA"), Done: 128, Total: 128, Action: ActionIdle},
		true,
	},
	{
		"before 1.10.0", "raid1 2 AA 128/128 idle 0 0",
		RaidStatus{Health: []LegHealth("AA"), Done: 128, Total: 128, Action: ActionIdle},
		true,
	},
	{
		"fields of a later version", "raid1 2 AA 128/128 idle 0 0 - new 7",
		RaidStatus{Health: []LegHealth("AA"), Done: 128, Total: 128, Action: ActionIdle},
		true,
	},
	{
		"largest numbers", "raid1 1 A 18446744073709551615/18446744073709551615 idle 18446744073709551615 0 -",
		RaidStatus{Health: []LegHealth("A"), Done: 1<<64 - 1, Total: 1<<64 - 1, Action: ActionIdle, Mismatches: 1<<64 - 1},
		true,
	},
}

func TestParseRaidStatus(t *testing.T) {
	for _, tt := range raidStatusLines {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRaidStatus(tt.line)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("status: %v (-want +got):\n%s", err, diff)
			}
			if got.Complete() != tt.complete {
				t.Errorf("complete = %v, want %v", got.Complete(), tt.complete)
			}
		})
	}
}

func TestParseRaidStatusRefuses(t *testing.T) {
	tests := []struct {
		name string
		line string
		text string
	}{
		{"empty", "", "0 fields"},
		{"three fields", "raid1 2 AA", "3 fields"},
		{"five fields", "raid1 2 AA 128/128 idle", "5 fields"},
		{"another level", "raid5_la 3 AAA 128/128 idle 0 0 -", `level "raid5_la"`},
		{"legs no number", "raid1 x AA 128/128 idle 0 0 -", "number of legs"},
		{"legs negative", "raid1 -2 AA 128/128 idle 0 0 -", "number of legs"},
		{"unknown health letter", "raid1 2 AX 128/128 idle 0 0 -", "health letter 'X'"},
		{"too many legs", "raid1 254 " + strings.Repeat("A", 254) + " 128/128 idle 0 0 -", "health of 254 legs"},
		{"no ratio", "raid1 2 AA 128 idle 0 0 -", "ratio"},
		{"ratio of three", "raid1 2 AA 1/2/3 idle 0 0 -", "ratio"},
		{"ratio with a sign", "raid1 2 AA +1/2 idle 0 0 -", "ratio"},
		{"ratio in hexadecimal", "raid1 2 AA 0x1/0x2 idle 0 0 -", "ratio"},
		{"ratio beyond 64 bits", "raid1 2 AA 1/18446744073709551616 idle 0 0 -", "ratio"},
		{"more done than there is", "raid1 2 AA 129/128 idle 0 0 -", "ratio 129/128"},
		{"nothing to do", "raid1 2 AA 0/0 idle 0 0 -", "ratio 0/0"},
		{"unknown action", "raid1 2 AA 128/128 Idle 0 0 -", `action "Idle"`},
		{"mismatches no number", "raid1 2 AA 128/128 idle - 0 -", "mismatches"},
		{"mismatches negative", "raid1 2 AA 128/128 idle -1 0 -", "mismatches"},
		{"data offset", "raid1 2 AA 128/128 idle 0 2048 -", `data offset "2048"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRaidStatus(tt.line)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want one with %q", err, tt.text)
			}
			if diff := cmp.Diff(RaidStatus{}, got); diff != "" {
				t.Errorf("status beside an error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompleteNeedsLegs(t *testing.T) {
	if (RaidStatus{Done: 1, Total: 1, Action: ActionIdle}).Complete() {
		t.Error("a status without legs is complete")
	}
}

func FuzzParseRaidStatus(f *testing.F) {
	for _, line := range []string{
		"raid1 2 AA 65536/65536 idle 0 0 -", "raid1 2 Aa 0/1 recover 0", "raid1 1 D 1/1", "raid1 2 A- 1/2 frozen 3 0 - x",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseRaidStatus(line)
		if err != nil {
			return
		}
		if !possible(s) {
			t.Errorf("%q gives %+v", line, s)
		}
		if s.Complete() && (slices.ContainsFunc(s.Health, func(h LegHealth) bool { return h != LegInSync }) || s.Done < s.Total) {
			t.Errorf("%q is complete: %+v", line, s)
		}
		again, err := ParseRaidStatus(printed(s))
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("%q printed and parsed again: %v (-want +got):\n%s", line, err, diff)
		}
	})
}

// possible reports whether a kernel could say s.
func possible(s RaidStatus) bool {
	return len(s.Health) > 0 && len(s.Health) <= maxLegs && s.Total > 0 && s.Done <= s.Total && s.Action != ""
}

// printed is s as the kernel would print it.
func printed(s RaidStatus) string {
	health := make([]byte, len(s.Health))
	for i, letter := range s.Health {
		health[i] = byte(letter)
	}
	return fmt.Sprintf("raid1 %d %s %d/%d %s %d 0 -", len(health), health, uint64(s.Done), uint64(s.Total), s.Action, s.Mismatches)
}
