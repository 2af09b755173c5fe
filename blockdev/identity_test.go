//go:build linux

package blockdev

import (
	"strings"
	"testing"
)

func TestIdentityCompare(t *testing.T) {
	tests := map[string]struct {
		was, now Identity
		want     Match
	}{
		"nothing":                      {"", "", Unknown},
		"nothing was known":            {"", "id:naa.5", Unknown},
		"the same":                     {"id:naa.5;serial:X", "id:naa.5;serial:X", Same},
		"another":                      {"id:naa.5;serial:X", "id:naa.6;serial:Y", Different},
		"another of the same serial":   {"id:naa.5;serial:X", "id:naa.6;serial:X", Different},
		"serial behind another bridge": {"id:naa.5;serial:X", "id:naa.5;serial:00X", Same},
		"a bridge without a name":      {"id:naa.5;serial:X", "serial:X", Same},
		"a bridge with another serial": {"id:naa.5;serial:X", "serial:Y", Different},
		"a file of a disk":             {"id:naa.5;serial:X", "", Different},
		"a disk of a file":             {"", "serial:X", Unknown},
		"only a name, only a serial":   {"id:naa.5", "serial:X", Different},
		"partition":                    {"id:naa.5;part:1", "id:naa.5;part:1", Same},
		"another partition":            {"id:naa.5;part:1", "id:naa.5;part:2", Different},
		"partition of another disk":    {"id:naa.5;part:1", "id:naa.6;part:1", Different},
		"a kernel that tells less":     {"id:naa.5;part:1", "id:naa.5", Same},
		"a kernel that tells more":     {"id:naa.5", "id:naa.5;part:1", Same},
		"only a partition":             {"part:1", "part:1", Same},
		"only another partition":       {"part:1", "part:2", Different},
		"only a partition, untold":     {"part:1", "", Unknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.was.Compare(tt.now); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// An identity fits a label, whatever the device says.
func TestIdentityIsPlain(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := map[string]struct {
		pairs []string
		want  Identity
	}{
		"nothing":     {[]string{"id", "", "serial", " \n"}, ""},
		"blanks":      {[]string{"id", "t10.ATA     A  B "}, "id:t10.ATA_A_B"},
		"separators":  {[]string{"serial", "a;id:b"}, "serial:a_id:b"},
		"not text":    {[]string{"serial", "\x1b]0;\xff\u00e9"}, "serial:_]0___"},
		"second only": {[]string{"id", "", "serial", "X"}, "serial:X"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newIdentity(tt.pairs...); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	got := newIdentity("id", long, "serial", long+"y", "part", long)
	if len(got) > 256 || got.part("id") == got.part("serial") || got.part("id") != got.part("part") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestIdentityOfMappedDevices(t *testing.T) {
	for uuid, want := range map[string]Identity{
		"":                      "",
		"LVM-abc":               "id:LVM-abc",
		"mpath-360014056d8e3":   "id:naa.60014056d8e3",
		"mpath-20025384141414a": "id:eui.0025384141414a",
		"mpath-nvme.1af4-71656": "id:nvme.1af4-71656",
		"CRYPT-LUKS2-1234-home": "",
		"PLEX-1":                "",
	} {
		if got := mappedIdentity(uuid); got != want {
			t.Errorf("%q: %q, want %q", uuid, got, want)
		}
	}
}
