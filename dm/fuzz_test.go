package dm

import (
	"errors"
	"strings"
	"testing"
)

// The decoders see what a kernel wrote. None may panic, loop, or return both a value and an error.

func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte(header{version: kernel61, name: "plex-a", uuid: "PLEX-a", dev: number(3), payload: wire("abcd")}.bytes()))
	f.Add([]byte(header{claimSize: true, size: 305}.bytes()))
	f.Add([]byte(header{claimSize: true, size: 1<<32 - 1}.bytes()))
	f.Fuzz(func(t *testing.T, buf []byte) {
		r, err := decodeReply(buf)
		if err != nil {
			refused(t, err, r.payload == nil && r.name == "")
			return
		}
		if len(r.payload) > len(buf)-headerSize {
			t.Errorf("payload of %d bytes in a buffer of %d", len(r.payload), len(buf))
		}
		if len(r.name) > maxName+1 || len(r.uuid) > maxUUID+1 {
			t.Errorf("name %q, uuid %q", r.name, r.uuid)
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	f.Add([]byte(record510(0, "plex-a", 3, true)))
	f.Add([]byte(join(record61(0, "plex-a", 3, "PLEX-a", false), record61(1, "bare", 0, "", true))))
	f.Add([]byte(wire{}.u64(0).u32(0).str("").pad()))
	f.Fuzz(func(t *testing.T, payload []byte) {
		list, err := decodeList(payload)
		if err != nil {
			refused(t, err, list == nil)
		}
		if len(list) > len(payload)/13 {
			t.Errorf("%d devices in %d bytes", len(list), len(payload))
		}
	})
}

func FuzzDecodeDeps(f *testing.F) {
	f.Add([]byte(wire{}.u32(2, 0).u64(number(1), number(2))))
	f.Add([]byte(wire{}.u32(1<<32-1, 0)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		deps, err := decodeDeps(payload)
		if err != nil {
			refused(t, err, deps == nil)
			return
		}
		if 8+8*len(deps) > len(payload) {
			t.Errorf("%d devices in %d bytes", len(deps), len(payload))
		}
	})
}

func FuzzDecodeVersions(f *testing.F) {
	f.Add([]byte(join(target61("raid", [3]uint32{1, 15, 1}, false), target61("linear", [3]uint32{1, 4, 0}, true))))
	f.Fuzz(func(t *testing.T, payload []byte) {
		versions, err := decodeVersions(payload)
		if err != nil {
			refused(t, err, versions == nil)
		}
	})
}

func FuzzDecodeTargets(f *testing.F) {
	f.Add([]byte(join(spec(0, 8, 48, "linear", "8:0 0"), spec(8, 8, 0, "raid", "raid1 2 AA 8/8 idle 0 0 -"))), uint32(2))
	f.Add([]byte(spec(0, 8, 48, "linear", "")), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, payload []byte, count uint32) {
		lines, err := decodeTargets(payload, count)
		if err != nil {
			refused(t, err, lines == nil)
			return
		}
		if len(lines) != int(count) {
			t.Errorf("%d lines, want %d", len(lines), count)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add("3,1234,567890,-;device-mapper: table: 254:0: raid: Unknown RAID type\n SUBSYSTEM=block\n")
	f.Add("4,1,2,-,caller=T1;md/raid1:mdX: Disk failure on dm-6, disabling device.\n")
	f.Fuzz(func(t *testing.T, record string) {
		line, ok := parseRecord(record)
		if ok != (line != "") || strings.Contains(line, "\n") || !strings.Contains(record, line) {
			t.Errorf("%q: %q, %v", record, line, ok)
		}
		about(line, dmDev(0))
	})
}

func FuzzParseMisc(f *testing.F) {
	f.Add("236 device-mapper\n237 loop-control\n")
	f.Fuzz(func(t *testing.T, table string) {
		if minor := parseMisc(table); minor >= 1<<20 {
			t.Errorf("%q: minor %d", table, minor)
		}
	})
}

// refused checks what a decoder returns with an error.
func refused(t *testing.T, err error, nothing bool) {
	t.Helper()
	if !errors.Is(err, errReply) {
		t.Errorf("error %v is not %v", err, errReply)
	}
	if !nothing {
		t.Errorf("a value comes with the error %v", err)
	}
}
