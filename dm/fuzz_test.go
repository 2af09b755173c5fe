//go:build linux

package dm

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/devno"
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
		if len(r.name) > maxName+1 || len(r.uuid) > maxUUID+1 || strings.Contains(r.name+r.uuid, "\x00") {
			t.Errorf("name %q, uuid %q", r.name, r.uuid)
		}
		if !bytes.HasSuffix(buf, r.payload) && !bytes.Contains(buf[headerSize:], r.payload) {
			t.Error("the payload is not what stands in the buffer")
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
		for _, d := range list {
			if strings.Contains(d.Name+d.UUID, "\x00") || !bytes.Contains(payload, append([]byte(d.Name), 0)) {
				t.Errorf("device %+v is not in the list", d)
			}
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
		for name := range versions {
			if strings.Contains(name, "\x00") || !bytes.Contains(payload, []byte(name)) {
				t.Errorf("target %q is not in the list", name)
			}
		}
		if len(versions) > len(payload)/17 {
			t.Errorf("%d targets in %d bytes", len(versions), len(payload))
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
		for _, l := range lines {
			if strings.Contains(l.Type+l.Line, "\x00") || !bytes.Contains(payload, []byte(l.Line)) || len(l.Type) > maxTypeName+1 {
				t.Errorf("%+v is not in the payload", l)
			}
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

// FuzzReadCopyLog reads any record of the kernel's log behind a marker. A sector that is found stands in the record, behind the
// leg's name; the record that the kernel would write about it is read the same. A marker that is read is written the same.
func FuzzReadCopyLog(f *testing.F) {
	f.Add("2,1234,95878462,-;md/raid1:mdX: dm-6: unrecoverable I/O read error for block 40960\n", uint32(6))
	f.Add("2,1,2,-;md/raid1:mdX: dm-66: unrecoverable I/O read error for block 18446744073709551615", uint32(6))
	f.Add("14,1,2,-;plexctl: operation a goes on: reads 253:4 253:6\n", uint32(0))
	f.Fuzz(func(t *testing.T, record string, minor uint32) {
		legs := []devno.No{dmDev(minor)}
		begin := "14,1,1,-;" + Marker{Operation: "a", Begins: true, Legs: legs}.String()
		if found := ReadCopyLog([]string{begin, record}, "a", legs); found.Found {
			if !found.Known || !strings.Contains(record, "md/raid1:") {
				t.Errorf("%q: %+v", record, found)
			}
			if again := ReadCopyLog([]string{begin, unreadableLine(found.Leg, found.Sector)}, "a", legs); again != found {
				t.Errorf("%q gives %+v, then %+v", record, found, again)
			}
		}
		_, line, _ := strings.Cut(record, ";")
		if m, ok := parseMarker(line); ok {
			if again, ok := parseMarker(m.String()); !ok || again.Operation != m.Operation || !slices.Equal(again.Legs, m.Legs) || again.Begins != m.Begins {
				t.Errorf("%q is marker %+v, then %+v", line, m, again)
			}
		}
	})
}

// FuzzParsePersonality reads any text in the place of /proc/mdstat and modules.dep.
func FuzzParsePersonality(f *testing.F) {
	f.Add("Personalities : [raid1] [raid6]\nunused devices: <none>\n", "")
	f.Add("", "kernel/drivers/md/raid1.ko.xz: kernel/drivers/md/md-mod.ko.xz\nkernel/drivers/md/raid10.ko:\n")
	f.Add("Personalities : \n[raid1]", "kernel/raid1.kou:raid1.ko")
	f.Fuzz(func(t *testing.T, mdstat, modules string) {
		switch got := parsePersonality(mdstat, modules); {
		case got == Loaded && !strings.Contains(mdstat, "[raid1]"), got == Loadable && !strings.Contains(modules, "raid1.ko"):
			t.Errorf("%v without raid1: %q, %q", got, mdstat, modules)
		case got == Missing && strings.HasPrefix(mdstat, "Personalities : [raid1]"):
			t.Errorf("raid1 is missing: %q", mdstat)
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
