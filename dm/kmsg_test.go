//go:build linux

package dm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

func TestParseRecord(t *testing.T) {
	tests := []struct {
		name   string
		record string
		want   string // empty: not taken
	}{
		{"error", "3,812,6304965,-;device-mapper: table: 254:0: nonesuch: unknown target type\n SUBSYSTEM=block\n DEVICE=b254:0\n", "device-mapper: table: 254:0: nonesuch: unknown target type"},
		{"warning", "4,813,6304965,-;md: personality for level 1 is not loaded!\n", "md: personality for level 1 is not loaded!"},
		{"raid1", "2,814,6304965,-;md/raid1:mdX: Disk failure on dm-6, disabling device.\n", "md/raid1:mdX: Disk failure on dm-6, disabling device."},
		{"another facility", "27,815,6304965,-;device-mapper: raid: Failed to load bitmap\n", "device-mapper: raid: Failed to load bitmap"},
		{"caller in the head", "3,816,6304965,-,caller=T812;device-mapper: raid: Failed to load bitmap\n", "device-mapper: raid: Failed to load bitmap"},
		{"semicolon in the text", "3,816,1,-;device-mapper: a; b\n", "device-mapper: a; b"},
		{"no end of line", "3,816,1,-;device-mapper: raid: x", "device-mapper: raid: x"},
		{"information", "6,817,6304965,-;md/raid1:mdX: active with 2 out of 2 mirrors\n", ""},
		{"notice", "5,817,6304965,-;device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled.\n", ""},
		{"follows every refusal", "3,818,1,-;device-mapper: ioctl: error adding target to table\n", ""},
		{"somebody else", "3,819,1,-;EXT4-fs error (device dm-0): device-mapper: x\n", ""},
		{"looks like md", "3,819,1,-;mdadm: sending ioctl\n", ""},
		{"a process speaks", "3,820,1,-;a device-mapper: x\n", ""},
		{"no head", "device-mapper: raid: x\n", ""},
		{"no priority", ",1,2,-;device-mapper: raid: x\n", ""},
		{"negative priority", "-3,1,2,-;device-mapper: raid: x\n", ""},
		{"huge priority", "99999999999999999999,1,2,-;device-mapper: raid: x\n", ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := parseRecord(tt.record); got != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestAbout(t *testing.T) {
	tests := []struct {
		line string
		want bool
	}{
		{"device-mapper: table: 254:3: raid: Unknown RAID type", true},
		{"device-mapper: table: 254:4: raid: Unknown RAID type", false},
		{"device-mapper: table: 254:30: raid: Unknown RAID type", false},
		{"device-mapper: table: 253:3: raid: Unknown RAID type", false},
		{"device-mapper: table: table type request-based: not a number", true},
		{"device-mapper: table: unable to determine table type", true},
		{"device-mapper: raid: Failed to load bitmap", true},
		{"md/raid1:mdX: Disk failure on dm-6, disabling device.", true},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			if got := about(tt.line, dmDev(3)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestKernelLog(t *testing.T) {
	// A file gives all that was appended in one read, so each case appends one record.
	tests := []struct {
		name, before, after, want string
	}{
		{"refusal", "", "3,1,1,-;device-mapper: raid: Failed to load bitmap\n", "device-mapper: raid: Failed to load bitmap"},
		{"only what came since", "3,1,1,-;device-mapper: raid: Old\n", "3,2,1,-;device-mapper: raid: New\n", "device-mapper: raid: New"},
		{"nothing came", "3,1,1,-;device-mapper: raid: Old\n", "", ""},
		{"something else came", "", "3,1,1,-;usb 1-1: reset\n", ""},
		{"another device's table", "", "3,1,1,-;device-mapper: table: 254:9: raid: x\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kmsg")
			write(t, path, tt.before)
			log := (&kernelLogs{path: path}).open()
			defer log.close()
			write(t, path, tt.before+tt.after)
			if got := log.lines(dmDev(3)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKernelLogJoinsFewLines(t *testing.T) {
	// A sequenced socket keeps records apart as the kernel does.
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	log := kernelLog{fd: fds[0]}
	defer log.close()
	for _, text := range []string{"one", "one", "two", "three", "four", "five"} {
		if _, err := unix.Write(fds[1], []byte("3,1,1,-;device-mapper: raid: "+text+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Join([]string{"device-mapper: raid: one", "device-mapper: raid: two", "device-mapper: raid: three", "device-mapper: raid: four"}, "; ")
	if got := log.lines(devno.No{}); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestKernelLogUnreadable(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe") // cannot be positioned
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), pipe} {
		log := (&kernelLogs{path: path}).open()
		if got := log.lines(dmDev(0)); got != "" || log.fd != -1 {
			t.Errorf("%s: got %q, descriptor %d", filepath.Base(path), got, log.fd)
		}
		log.close()
	}
}

// TestKernelLogsAreUsedAgain opens the log for one operation after the other, and for two at once.
func TestKernelLogsAreUsedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	text := ""
	happens := func(line string) {
		text += "3,1,1,-;device-mapper: raid: " + line + "\n"
		write(t, path, text)
	}
	logs := &kernelLogs{path: path}
	defer logs.close()
	expect := func(log kernelLog, want string) {
		t.Helper()
		if got := log.lines(dmDev(3)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	happens("Before")
	first := logs.open()
	happens("First")
	other := logs.open()
	if other == first {
		t.Fatal("two operations share a descriptor")
	}
	expect(first, "device-mapper: raid: First")
	expect(other, "")
	logs.put(first)
	happens("Between")
	again := logs.open()
	if again != first {
		t.Error("a descriptor that nobody uses is not used again")
	}
	happens("Again")
	expect(again, "device-mapper: raid: Again")
	logs.close()
	logs.put(again)
	logs.put(other)
	if _, err := unix.FcntlInt(uintptr(again.fd), unix.F_GETFD, 0); err == nil {
		t.Error("a descriptor is left open")
	}
	if len(logs.idle) > 0 {
		t.Error("a descriptor is kept after the end")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
