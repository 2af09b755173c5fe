package vm

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// accelVar forces how guests run: "tcg" emulates, "kvm" uses the processor.
const accelVar = "PLEXCTL_VM_ACCEL"

// emulator is the command of QEMU.
const emulator = "qemu-system-x86_64"

// Accelerator is QEMU's -accel for this host.
func Accelerator() (string, error) {
	switch forced := os.Getenv(accelVar); forced {
	case "kvm":
		return "kvm", nil
	case "tcg":
		return tcgOption()
	case "":
	default:
		return "", fmt.Errorf("%s=%s: want tcg or kvm", accelVar, forced)
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	if virtualizes(cpuinfo) && kvmOpens() {
		return "kvm", nil
	}
	return tcgOption()
}

// tcgOption is the value of -accel for the emulation of this host's QEMU.
func tcgOption() (string, error) {
	out, err := exec.Command(emulator, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask QEMU for its version: %w", err)
	}
	major, minor, err := qemuVersion(string(out))
	if err != nil {
		return "", err
	}
	return tcgThreads(major, minor), nil
}

// tcgThreads is the value of -accel for the emulation of a version of QEMU. Before 8.1 it translates code without locking its
// pages, so that with a thread for each processor the guest's kernel now and then dies of a breakpoint it has just removed
// (Launchpad bug 2051965). There, the processors take turns on one thread.
func tcgThreads(major, minor int) string {
	if major < 8 || major == 8 && minor < 1 {
		return "tcg,thread=single"
	}
	return "tcg,thread=multi"
}

// emulates reports whether a value of -accel is for emulation.
func emulates(accel string) bool { return strings.HasPrefix(accel, "tcg") }

// processor is the value of -cpu. An emulated one is the plainest there is: programs and kernels that find more use instructions
// whose emulation takes longer than what they do without, such as those for checksums, for long vectors and for saving those.
func processor(accel string) string {
	if emulates(accel) {
		return "qemu64,+rdrand"
	}
	return "max"
}

// processorEnv is the environment of everything in a guest. An emulated one has its processors take turns, so that a Go program
// with several only spends time on handing work from one to the other.
func processorEnv(accel string) []string {
	if emulates(accel) {
		return []string{"GOMAXPROCS=1"}
	}
	return nil
}

// versionLine finds the version in what QEMU says of itself: "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)".
var versionLine = regexp.MustCompile(`(?m)^QEMU emulator version (\d+)\.(\d+)`)

// qemuVersion reads a version of QEMU.
func qemuVersion(text string) (major, minor int, err error) {
	found := versionLine.FindStringSubmatch(text)
	if found == nil {
		return 0, 0, fmt.Errorf("no version of QEMU in %q", text)
	}
	major, err = strconv.Atoi(found[1])
	if err == nil {
		minor, err = strconv.Atoi(found[2])
	}
	return major, minor, err
}

// virtualizes reports whether the processor can run guests. /dev/kvm may be there on one that cannot.
func virtualizes(cpuinfo []byte) bool {
	return regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`).Match(cpuinfo)
}

// kvmOpens reports whether this process may use /dev/kvm.
func kvmOpens() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
