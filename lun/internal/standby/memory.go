//go:build linux

package standby

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockMemory keeps this process in memory until unlock. A page of the program or of swap space that lies on a suspended LUN
// could not be read. It does what it can: the kernel wants CAP_IPC_LOCK or a high enough RLIMIT_MEMLOCK. If the program has locked
// memory of its own, all of it stays locked: there is no call that would unlock the rest.
func lockMemory() (unlock func()) {
	locked := locksMemory()
	// On fault: the runtime reserves far more than it uses.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if from, length, file := mapping(line); file {
			_, _, _ = unix.Syscall(unix.SYS_MLOCK, from, length, 0) // reads it
		}
	}
	if locked {
		return func() {}
	}
	return func() { _ = unix.Munlockall() }
}

// locksMemory reports whether this process has locked memory.
func locksMemory() bool {
	status, err := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmLck:")
	line, _, _ := strings.Cut(rest, "\n")
	return err == nil && strings.TrimSpace(line) != "0 kB"
}

// mapping is a line of /proc/self/maps: where it lies, and whether it is a file that can be read (proc_pid_maps(5)).
func mapping(line string) (from, length uintptr, file bool) {
	var to, offset uintptr
	var mode, device, inode string
	_, err := fmt.Sscanf(line, "%x-%x %s %x %s %s", &from, &to, &mode, &offset, &device, &inode)
	if err != nil || from > to {
		return 0, 0, false
	}
	return from, to - from, inode != "0" && strings.HasPrefix(mode, "r")
}
