//go:build linux

package standby

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMapping(t *testing.T) {
	for _, tt := range []struct {
		line         string
		from, length uintptr
		file         bool
	}{
		{"00400000-00a25000 r-xp 00000000 08:01 1835043                            /usr/bin/plexctl", 0x400000, 0x625000, true},
		{"c0000000-c0400000 rw-p 00000000 00:00 0 ", 0xc0000000, 0x400000, false},
		{"00400000-00a25000 ---p 00000000 08:01 1835043 /usr/bin/plexctl", 0x400000, 0x625000, false},
		{"00a25000-00400000 r-xp 00000000 08:01 1835043 /usr/bin/plexctl", 0, 0, false},
		{"no mapping", 0, 0, false},
		{"", 0, 0, false},
	} {
		from, length, file := mapping(tt.line)
		if from != tt.from || length != tt.length || file != tt.file {
			t.Errorf("mapping(%q) = %#x, %#x, %v; want %#x, %#x, %v", tt.line, from, length, file, tt.from, tt.length, tt.file)
		}
	}
}

// The memory of a process that may lock it is locked, the program's text with it, and is not afterwards.
func TestLockMemory(t *testing.T) {
	locked := func() string {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmLck:")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(line)
	}
	unlock := lockMemory()
	if during := locked(); os.Geteuid() == 0 && during == "0 kB" {
		t.Errorf("nothing is locked")
	}
	unlock()
	if after := locked(); after != "0 kB" {
		t.Errorf("%s stay locked", after)
	}
}

// Memory that the program has locked itself stays locked.
func TestLockMemoryOfOthers(t *testing.T) {
	own := make([]byte, os.Getpagesize())
	if err := unix.Mlock(own); err != nil {
		t.Fatal(err)
	}
	lockMemory()()
	if !locksMemory() {
		t.Error("nothing is locked any more")
	}
	if err := unix.Munlockall(); err != nil || locksMemory() {
		t.Errorf("locked at the end: %v", err)
	}
}
