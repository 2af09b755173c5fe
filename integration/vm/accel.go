package vm

import (
	"fmt"
	"os"
	"regexp"
)

// accelVar forces how guests run: "tcg" emulates, "kvm" uses the processor.
const accelVar = "PLEXCTL_VM_ACCEL"

// Accelerator is QEMU's -accel for this host.
func Accelerator() (string, error) {
	switch forced := os.Getenv(accelVar); forced {
	case "tcg", "kvm":
		return accelOption(forced == "kvm"), nil
	case "":
	default:
		return "", fmt.Errorf("%s=%s: want tcg or kvm", accelVar, forced)
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	return accelOption(virtualizes(cpuinfo) && kvmOpens()), nil
}

// accelOption is the value of -accel. Emulated processors take turns on one thread: QEMU before 8.1 translates code without
// locking its pages, so that with a thread for each processor the guest's kernel now and then dies of a breakpoint it has
// just removed (Launchpad bug 2051965). Two guests at a time keep two cores busy all the same.
func accelOption(kvm bool) string {
	if kvm {
		return "kvm"
	}
	return "tcg,thread=single"
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
