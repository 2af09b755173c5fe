package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// A guard says that it is ready, resumes its LUN when its input ends without a word, and does nothing when it is sent away.
func TestGuardCommand(t *testing.T) {
	const id = "6a4fd9c5-b5d5-4a53-8a7d-52a8ad5f1f5e"
	broken := errors.New("no device-mapper")
	for _, tt := range []struct {
		name            string
		args            []string
		input           string
		openErr, failed error
		want            int
		wakes           bool
		out             string
	}{
		{"sent away", []string{id, "7:0"}, "\x00", nil, nil, 0, false, "ready\n"},
		{"left alone", []string{id, "7:0", "7:1"}, "", nil, nil, 0, true, "ready\n"},
		{"left alone in vain", []string{id, "7:0"}, "", nil, broken, 1, true, "ready\n"},
		{"cannot stand by", []string{id, "7:0"}, "", broken, nil, 1, false, ""},
		{"no LUN", []string{"web1", "7:0"}, "", nil, nil, 2, false, ""},
		{"no drive", []string{id}, "", nil, nil, 2, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			var woken []string
			a := newApp()
			a.in, a.out, a.err = strings.NewReader(tt.input), &out, &errs
			a.openGuard = func(drives []string) (func(context.Context, uuid.UUID) error, error) {
				return func(_ context.Context, id uuid.UUID) error {
					woken = append(slices.Clone(drives), id.String())
					return tt.failed
				}, tt.openErr
			}
			if got := a.run(t.Context(), append([]string{guardName}, tt.args...)); got != tt.want {
				t.Errorf("exit status %d, want %d: %s", got, tt.want, errs.String())
			}
			if out.String() != tt.out {
				t.Errorf("said %q, want %q", out.String(), tt.out)
			}
			if want := append(slices.Clone(tt.args[1:]), tt.args[0]); (woken != nil) != tt.wakes || tt.wakes && !slices.Equal(woken, want) {
				t.Errorf("woke %v, want %v: %v", woken, tt.wakes, want)
			}
		})
	}
}

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
