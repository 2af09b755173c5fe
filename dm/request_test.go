//go:build linux

package dm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

var (
	longestName = strings.Repeat("n", 127)
	longestUUID = strings.Repeat("u", 128)
)

func TestRequestBytes(t *testing.T) {
	version := [3]uint32{4, 0, 0}
	tests := []struct {
		name    string
		request request
		want    header
	}{
		{"no device", request{command: unix.DM_LIST_DEVICES}, header{}},
		{"name", request{name: "plex-a"}, header{name: "plex-a"}},
		{"longest name and uuid", request{name: longestName, uuid: longestUUID}, header{name: longestName, uuid: longestUUID}},
		{
			"resume of a public device",
			request{command: unix.DM_DEV_SUSPEND, name: "plex-a", flags: unix.DM_SKIP_LOCKFS_FLAG, event: Public.udevFlags()},
			header{name: "plex-a", flags: 0x400, event: 0x0040_0000},
		},
		{
			"resume of a private device",
			request{command: unix.DM_DEV_SUSPEND, name: "plex-a-data0", event: Private.udevFlags()},
			header{name: "plex-a-data0", event: 0x004E_0000},
		},
		{
			"resume of a copy",
			request{command: unix.DM_DEV_SUSPEND, name: "plex-a", event: Copy.udevFlags()},
			header{name: "plex-a", event: 0x0050_0000},
		},
		{"payload", request{targets: 1, payload: []byte("abc")}, header{targets: 1, payload: wire("abc")}},
		{"room", request{room: 16}, header{payload: make(wire, 16)}},
		{"payload shorter than room", request{payload: []byte("abc"), room: 8}, header{payload: wire{}.text("abc", 8)}},
		{"payload longer than room", request{payload: []byte("abcdefghij"), room: 8}, header{payload: wire("abcdefghij")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.version = version
			if diff := cmp.Diff([]byte(tt.want.bytes()), tt.request.encode()); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
		})
	}
}

// spec is one struct dm_target_spec with its parameters.
func spec(start, length uint64, next uint32, typ, params string) wire {
	return wire{}.u64(start, length).u32(0, next).text(typ, 16).str(params).pad()
}

func TestTableBytes(t *testing.T) {
	raid := "raid1 3 0 region_size 2048 2 254:0 254:1 254:2 254:3"
	tests := []struct {
		name  string
		table Table
		want  []wire
	}{
		{"linear", Table{{0, 2048, Linear{Dev: devno.No{Major: 8, Minor: 16}, Offset: 4096}}}, []wire{spec(0, 2048, 56, "linear", "8:16 4096")}},
		{"no parameters", Table{{0, 8, Other{"error", ""}}}, []wire{spec(0, 8, 48, "error", "")}},
		{"parameters fill the padding", Table{{0, 8, Other{"delay", "1234567"}}}, []wire{spec(0, 8, 48, "delay", "1234567")}},
		{"NUL needs another eight", Table{{0, 8, Other{"delay", "12345678"}}}, []wire{spec(0, 8, 56, "delay", "12345678")}},
		{"longest target name", Table{{0, 8, Other{"123456789012345", ""}}}, []wire{spec(0, 8, 48, "123456789012345", "")}},
		{
			"three segments",
			Table{{0, 8, Other{"zero", ""}}, {8, 1 << 40, Other{"raid", raid}}, {1<<40 + 8, 16, Other{"error", ""}}},
			[]wire{spec(0, 8, 48, "zero", ""), spec(8, 1<<40, 96, "raid", raid), spec(1<<40+8, 16, 48, "error", "")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []byte
			for _, s := range tt.want {
				want = append(want, s...)
			}
			if diff := cmp.Diff(want, encodeTable(tt.table)); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessageAndNameBytes(t *testing.T) {
	if diff := cmp.Diff([]byte(wire{}.u64(4096).str("check")), encodeMessage(4096, "check")); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]byte("plex-b\x00"), encodeName("plex-b")); diff != "" {
		t.Errorf("name (-want +got):\n%s", diff)
	}
}

func TestCheckName(t *testing.T) {
	tests := []struct {
		name string
		want string // of the error; empty: the name is fine
	}{
		{"plex-web1", ""},
		{"a", ""},
		{"0-9A-Za-z#+-.:=@_", ""},
		{"...", ""},
		{longestName, ""},
		{longestName + "n", "name is longer than 127 bytes"},
		{"", "name is empty"},
		{".", "name is reserved"},
		{"..", "name is reserved"},
		{"control", "name is reserved"},
		{"a/b", `name contains "/"`},
		{"a b", `name contains " "`},
		{`a\x20b`, `name contains "\\"`},
		{"a\x00b", `name contains "\x00"`},
		{"größe", `name contains "\xc3"`},
		{"\xff", `name contains "\xff"`},
		{"a\n", `name contains "\n"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(checkName(tt.name)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckUUID(t *testing.T) {
	tests := []struct{ uuid, want string }{
		{"", ""},
		{"PLEX-0b1c2d3e-4f50-4162-8374-95a6b7c8d9ea-data0", ""},
		{longestUUID, ""},
		{longestUUID + "u", "uuid is longer than 128 bytes"},
		{"PLEX a", `uuid contains " "`},
	}
	for _, tt := range tests {
		t.Run(tt.uuid, func(t *testing.T) {
			if got := message(checkUUID(tt.uuid)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckTable(t *testing.T) {
	linear := Segment{0, 8, Linear{Dev: devno.No{Major: 8}}}
	tests := []struct {
		name  string
		table Table
		want  string
	}{
		{"linear", Table{linear}, ""},
		{"longest target name", Table{{0, 8, Other{"123456789012345", ""}}}, ""},
		{"empty", nil, "table is empty"},
		{"no target", Table{linear, {8, 8, nil}}, "segment 1: no target"},
		{"no target name", Table{{0, 8, Other{"", "x"}}}, "segment 0: target has no name"},
		{"long target name", Table{{0, 8, Other{"1234567890123456", ""}}}, "segment 0: target name is longer than 15 bytes"},
		{"zero byte in the name", Table{{0, 8, Other{"li\x00near", ""}}}, "segment 0: target contains a zero byte"},
		{"zero byte in the parameters", Table{{0, 8, Other{"linear", "8:0 0\x00"}}}, "segment 0: target contains a zero byte"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(checkTable(tt.table)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// message is the text of err, empty for nil.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
