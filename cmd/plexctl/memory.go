package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockMemory keeps this process in memory until unlock. A page of the program or of swap space that lies on a suspended LUN
// could not be read. It does what it can: the kernel wants CAP_IPC_LOCK or a high enough RLIMIT_MEMLOCK.
func lockMemory() (unlock func()) {
	// On fault: the runtime reserves far more than it uses.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return unlockMemory
	}
	defer maps.Close() //nolint:errcheck // read only
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if from, length, file := mapping(lines.Text()); file {
			_, _, _ = unix.Syscall(unix.SYS_MLOCK, from, length, 0) // reads it
		}
	}
	return unlockMemory
}

func unlockMemory() { _ = unix.Munlockall() }

// mapping is a line of /proc/self/maps: where it lies, and whether it is a file that can be read (proc_pid_maps(5)).
func mapping(line string) (from, length uintptr, file bool) {
	words := strings.Fields(line) // from-to mode offset device inode path
	if len(words) < 5 {
		return 0, 0, false
	}
	start, end, _ := strings.Cut(words[0], "-")
	first, err1 := strconv.ParseUint(start, 16, 64)
	last, err2 := strconv.ParseUint(end, 16, 64)
	if err1 != nil || err2 != nil || first > last {
		return 0, 0, false
	}
	return uintptr(first), uintptr(last - first), words[4] != "0" && strings.HasPrefix(words[1], "r")
}
