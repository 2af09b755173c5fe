//go:build linux

package dm

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

var kernel61 = [3]uint32{4, 47, 0}

func dmDev(minor uint32) devno.No { return devno.No{Major: 254, Minor: minor} }

// number is dmDev as the kernel encodes it for minors below 256.
func number(minor uint64) uint64 { return 254<<8 | minor }

func TestDecodeReply(t *testing.T) {
	tests := []struct {
		name   string
		header header
		want   reply
	}{
		{"empty", header{version: kernel61}, reply{}},
		{
			"device",
			header{open: 2, flags: 0x22, event: 7, dev: number(3), name: "plex-a", uuid: "PLEX-a", claimSize: true, size: 305},
			reply{open: 2, flags: 0x22, event: 7, dev: dmDev(3), name: "plex-a", uuid: "PLEX-a"},
		},
		{"large numbers", header{dev: 0x1230_0000 | 254<<8 | 0x67}, reply{dev: dmDev(0x12367)}},
		{"longest name and uuid", header{name: longestName, uuid: longestUUID}, reply{name: longestName, uuid: longestUUID}},
		{"payload", header{payload: wire("abcd")}, reply{payload: []byte("abcd")}},
		{"payload behind padding", header{payload: wire("--------abcd"), claimStart: true, start: 320}, reply{payload: []byte("abcd")}},
		{"start behind size", header{claimSize: true, size: 305, payload: wire("junk")}, reply{}},
		{"start at size", header{claimStart: true, start: 316, payload: wire("junk")}, reply{}},
		{
			"does not fit",
			header{flags: unix.DM_BUFFER_FULL_FLAG, payload: wire("junk"), claimSize: true, size: 1 << 31},
			reply{flags: unix.DM_BUFFER_FULL_FLAG},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeReply(tt.header.bytes())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(reply{})); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeReplyRefuses(t *testing.T) {
	tests := []struct {
		name string
		buf  []byte
	}{
		{"nothing", nil},
		{"half a header", header{}.bytes()[:305]},
		{"size behind the buffer", header{claimSize: true, size: 313}.bytes()},
		{"largest size", header{claimSize: true, size: 1<<32 - 1}.bytes()},
		{"payload inside the header", header{claimStart: true, start: 48, payload: wire("abcd")}.bytes()},
		{"payload at 0", header{claimStart: true, start: 0, payload: wire("abcd")}.bytes()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeReply(tt.buf); !errors.Is(err, errReply) {
				t.Errorf("got %+v, %v; want %v", got, err, errReply)
			}
		})
	}
}

func TestReplyInfo(t *testing.T) {
	device := Device{Name: "plex-a", UUID: "PLEX-a", Dev: dmDev(3), Event: 9}
	tests := []struct {
		name  string
		flags uint32
		want  Info
	}{
		{"no table", 0, Info{}},
		{"running", unix.DM_ACTIVE_PRESENT_FLAG, Info{Live: true}},
		{"suspended, another table loaded", unix.DM_SUSPEND_FLAG | unix.DM_ACTIVE_PRESENT_FLAG | unix.DM_INACTIVE_PRESENT_FLAG, Info{Suspended: true, Live: true, Inactive: true}},
		{"read-only", unix.DM_READONLY_FLAG, Info{ReadOnly: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Device, tt.want.OpenCount = device, 5
			r := reply{name: "plex-a", uuid: "PLEX-a", dev: dmDev(3), event: 9, open: 5, flags: tt.flags}
			if diff := cmp.Diff(tt.want, r.info()); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
		})
	}
}

// record510 is a record of LIST_DEVICES as Linux 4.13 to 5.10 write it, record61 as 6.1 does. last records have next 0.
func record510(minor uint64, name string, event uint32, last bool) wire {
	return chain(wire{}.u64(number(minor)).u32(0).str(name).pad().u32(event).pad(), 8, last)
}

func record61(minor uint64, name string, event uint32, uuid string, last bool) wire {
	flags := uint32(unix.DM_NAME_LIST_FLAG_HAS_UUID)
	if uuid == "" {
		flags = unix.DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID
	}
	w := wire{}.u64(number(minor)).u32(0).str(name).pad().u32(event, flags)
	if uuid != "" {
		w = w.str(uuid).pad()
	}
	return chain(w, 8, last)
}

// chain writes the length of w as the distance to the next record.
func chain(w wire, at int, last bool) wire {
	if !last {
		copy(w[at:], wire{}.u32(uint32(len(w))))
	}
	return w
}

func join(parts ...wire) (all wire) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestDecodeList(t *testing.T) {
	entry := func(minor uint32, name, uuid string, event uint32, known bool) listed {
		return listed{Device{Name: name, UUID: uuid, Dev: dmDev(minor), Event: event}, known}
	}
	tests := []struct {
		name    string
		payload wire
		want    []listed
	}{
		{"no payload", nil, nil},
		{"no device", wire{}.u64(0).u32(0).str("").pad(), nil},
		{"5.10", record510(0, "plex-a", 3, true), []listed{entry(0, "plex-a", "", 3, false)}},
		{
			"5.10, two",
			join(record510(0, "plex-a", 3, false), record510(1, "vg-root", 4, true)),
			[]listed{entry(0, "plex-a", "", 3, false), entry(1, "vg-root", "", 4, false)},
		},
		{
			"6.1",
			join(record61(0, "plex-a", 3, "PLEX-a", false), record61(1, "bare", 0, "", false), record61(2, "b", 9, "LVM-x", true)),
			[]listed{entry(0, "plex-a", "PLEX-a", 3, true), entry(1, "bare", "", 0, true), entry(2, "b", "LVM-x", 9, true)},
		},
		{"longest", record61(0, longestName, 1, longestUUID, true), []listed{entry(0, longestName, longestUUID, 1, true)}},
		{"without events", wire{}.u64(number(0)).u32(0).str("plex-a"), []listed{entry(0, "plex-a", "", 0, false)}},
		{"name with escapes", record61(0, `my\x20disk`, 0, "x", true), []listed{entry(0, `my\x20disk`, "x", 0, true)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeList(tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(listed{})); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeListRefuses(t *testing.T) {
	good := record61(0, "plex-a", 3, "PLEX-a", false)
	next := func(n uint32) wire { return join(wire{}.u64(number(0)).u32(n), good[12:], good) }
	tests := []struct {
		name    string
		payload wire
	}{
		{"half a record", good[:11]},
		{"next inside the record's head", next(8)},
		{"next at the end", good},
		{"next behind the end", next(1 << 20)},
		{"largest next", next(1<<32 - 1)},
		{"next cuts the name", next(14)},
		{"name does not end", wire{}.u64(number(0)).u32(0).text("plex-a", 6)},
		{"uuid does not end", wire{}.u64(number(0)).u32(0).str("plex-a").pad().u32(0, 1).text("PLEX", 4)},
		{"uuid is missing", wire{}.u64(number(0)).u32(0).str("plex-a").pad().u32(0, 1)},
		{"second record is short", join(good, good[:4])},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeList(tt.payload); !errors.Is(err, errReply) {
				t.Errorf("got %+v, %v; want %v", got, err, errReply)
			}
		})
	}
}

// target61 is a record of LIST_VERSIONS.
func target61(name string, version [3]uint32, last bool) wire {
	return chain(wire{}.u32(0).u32(version[:]...).str(name).pad(), 0, last)
}

func TestDecodeVersions(t *testing.T) {
	raid, linear := [3]uint32{1, 15, 1}, [3]uint32{1, 4, 0}
	good := target61("raid", raid, false)
	tests := []struct {
		name    string
		payload wire
		want    map[string]Version
	}{
		{"none", nil, map[string]Version{}},
		{"one", target61("raid", raid, true), map[string]Version{"raid": {1, 15, 1}}},
		{"two", join(good, target61("linear", linear, true)), map[string]Version{"raid": {1, 15, 1}, "linear": {1, 4, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeVersions(tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
	for name, payload := range map[string]wire{
		"half a head":            good[:3],
		"half a version":         wire{}.u32(0, 1, 15),
		"name does not end":      wire{}.u32(0, 1, 15, 1).text("raid", 4),
		"name is missing":        wire{}.u32(0, 1, 15, 1),
		"next inside its own":    join(wire{}.u32(3), good[4:]),
		"next cuts the version":  join(wire{}.u32(8), good[4:]),
		"next behind the end":    good,
		"largest next":           join(wire{}.u32(1<<32-1), good[4:]),
		"second record is short": join(good, wire{}.u32(0)),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decodeVersions(payload); !errors.Is(err, errReply) {
				t.Errorf("got %v, %v; want %v", got, err, errReply)
			}
		})
	}
}

func TestDecodeTargets(t *testing.T) {
	raid := "raid1 2 AA 65536/65536 idle 0 0 -"
	first := spec(0, 2048, 48, "linear", "")
	tests := []struct {
		name    string
		payload wire
		count   uint32
		want    []TargetStatus
	}{
		{"none", nil, 0, []TargetStatus{}},
		{"one", spec(0, 65536, 0, "raid", raid), 1, []TargetStatus{{0, 65536, "raid", raid}}},
		{"garbage in the last next", spec(0, 65536, 0xdeadbeef, "raid", raid), 1, []TargetStatus{{0, 65536, "raid", raid}}},
		{
			"next counts from the first",
			join(first, spec(2048, 8, 96, "error", ""), spec(2056, 8, 0, "raid", raid)), 3,
			[]TargetStatus{{0, 2048, "linear", ""}, {2048, 8, "error", ""}, {2056, 8, "raid", raid}},
		},
		{"target name fills its field", spec(0, 8, 0, "1234567890123456", "x"), 1, []TargetStatus{{0, 8, "1234567890123456", "x"}}},
		{"fewer targets than bytes", join(first, first), 1, []TargetStatus{{0, 2048, "linear", ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeTargets(tt.payload, tt.count)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeTargetsRefuses(t *testing.T) {
	two := func(next uint32) wire { return join(spec(0, 8, next, "linear", ""), spec(8, 8, 0, "linear", "")) }
	tests := []struct {
		name    string
		payload wire
		count   uint32
	}{
		{"nothing", nil, 1},
		{"half a spec", two(48)[:39], 1},
		{"more targets than bytes", two(48), 3},
		{"largest count", two(48), 1<<32 - 1},
		{"line does not end", wire{}.u64(0, 8).u32(0, 0).text("raid", 16).text("raid1", 5), 1},
		{"line is missing", wire{}.u64(0, 8).u32(0, 0).text("raid", 16), 1},
		{"next is 0", two(0), 2},
		{"next goes back", join(spec(0, 8, 48, "linear", ""), spec(8, 8, 8, "linear", ""), spec(16, 8, 0, "linear", "")), 3},
		{"next behind the end", two(4096), 2},
		{"largest next", two(1<<32 - 1), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeTargets(tt.payload, tt.count); !errors.Is(err, errReply) {
				t.Errorf("got %+v, %v; want %v", got, err, errReply)
			}
		})
	}
}

func TestExchange(t *testing.T) {
	// kernel answers with payload where it fits, as the real one does.
	kernel := func(payload wire, sizes *[]int) func(uint, []byte) error {
		return func(_ uint, buf []byte) error {
			*sizes = append(*sizes, len(buf)-312)
			h := header{flags: unix.DM_BUFFER_FULL_FLAG}
			if len(buf) >= 312+len(payload) {
				h = header{payload: payload}
			}
			copy(buf, h.bytes())
			return nil
		}
	}
	long := wire(strings.Repeat("x", 60<<10))
	tests := []struct {
		name    string
		payload wire
		room    int
		want    []int // rooms tried
		err     error
	}{
		{"fits", long, 64 << 10, []int{64 << 10}, nil},
		{"grows", long, 16 << 10, []int{16 << 10, 32 << 10, 64 << 10}, nil},
		{"nothing asked for", nil, 0, []int{0}, nil},
		{"no room to double", wire("x"), 0, []int{0}, errReply},
		{"limit", make(wire, maxRoom+1), maxRoom / 2, []int{maxRoom / 2, maxRoom}, errReply},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tried []int
			got, err := exchange(request{room: tt.room}, kernel(tt.payload, &tried))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, tried); diff != "" {
				t.Errorf("rooms (-want +got):\n%s", diff)
			}
			if err == nil && string(got.payload) != string(tt.payload) {
				t.Errorf("payload of %d bytes, want %d", len(got.payload), len(tt.payload))
			}
		})
	}
}

func TestExchangeRefused(t *testing.T) {
	got, err := exchange(request{room: 16}, func(uint, []byte) error { return unix.EINVAL })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %+v, %v; want EINVAL", got, err)
	}
	got, err = exchange(request{room: 16}, func(_ uint, buf []byte) error {
		copy(buf, header{claimSize: true, size: 1 << 20}.bytes())
		return nil
	})
	if !errors.Is(err, errReply) {
		t.Errorf("got %+v, %v; want %v", got, err, errReply)
	}
}
