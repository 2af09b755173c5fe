package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// Tests that cut the power run on the host: they boot a machine for a scenario, a TestGuest… function, cut it off, and boot
// the next one with the same disks. What the guest knows at the cut it prints; what the next one has to know is in its
// environment.

// bootLimit bounds one boot with its scenario.
const bootLimit = 3 * time.Minute

// onKernels runs a test on the host for each kernel, with the machine to boot.
func onKernels(t *testing.T, test func(t *testing.T, machine vm.Machine)) {
	t.Helper()
	for _, kernel := range vm.Kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			machine, err := machine().OnKernel(t.Context(), kernel)
			if err != nil {
				t.Fatal(err)
			}
			test(t, machine)
		})
	}
}

// newDisk makes the image of a blank disk whose cache a power cut loses. In the guest, diskPath finds it by its serial.
func newDisk(t *testing.T, serial string, length size.Bytes) vm.Disk {
	t.Helper()
	disk := vm.Disk{Path: filepath.Join(t.TempDir(), serial), Serial: serial, Volatile: true}
	if err := vm.CreateImage(disk.Path, length); err != nil {
		t.Fatal(err)
	}
	return disk
}

// bootScenario boots the machine, runs a scenario in it with the given environment, and returns what it printed. The test
// fails unless the run ends as wanted: nil, or vm.ErrCut.
func bootScenario(t *testing.T, machine vm.Machine, want error, scenario string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	var output, console bytes.Buffer
	machine.Output, machine.Console, machine.Env = &output, &console, append(machine.Env, env...)
	err := machine.Run(ctx, vm.TestArgs(scenario)...)
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Fatalf("scenario %s ended with %v, want %v\n%s\nconsole:\n%s", scenario, err, want, &output, &console)
	}
	return output.String()
}

// What the scenarios of TestHostPowerCut agree on.
const (
	powerSerial = "power"
	powerLength = 4 * size.MiB
	ackedVar    = "PLEXCTL_ACKED" // number of the last write that was acknowledged before the cut
)

// TestHostPowerCut shows that what a guest was told is durable is there after a power cut. That the cut loses what is not
// is shown in package vm.
func TestHostPowerCut(t *testing.T) {
	onKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Disks = []vm.Disk{newDisk(t, powerSerial, powerLength)}
		cut := machine
		cut.CutOn = "acknowledged 500\n"
		printed := bootScenario(t, cut, vm.ErrCut, "TestGuestWrites")
		acked := strings.TrimSpace(printed[strings.LastIndex(printed, " ")+1:])
		bootScenario(t, machine, nil, "TestGuestChecks", ackedVar+"="+acked)
	})
}

// powerStamps are the writes of the scenarios.
func powerStamps() stamps { return stamps{seed: 1, length: powerLength} }

// TestGuestWrites writes until the power is cut.
func TestGuestWrites(t *testing.T) {
	w := &writer{path: diskPath(t, powerSerial), stamps: powerStamps(), flags: unix.O_DSYNC}
	w.onAck = func(n uint64) {
		if n%100 == 0 {
			fmt.Println("acknowledged", n)
		}
	}
	w.start(t)
	<-w.ended
	t.Fatalf("writer ended: %v", w.err)
}

// TestGuestChecks compares the disk with the writes that were acknowledged before the cut; any that came after them may
// be there as well.
func TestGuestChecks(t *testing.T) {
	acked, err := strconv.ParseUint(os.Getenv(ackedVar), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := powerStamps().check(diskPath(t, powerSerial), acked, 1<<32); err != nil {
		t.Error(err)
	}
}
