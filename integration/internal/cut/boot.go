package cut

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// BootLimit bounds one boot with its scenario, should it hang: on a busy host one takes minutes.
const BootLimit = 10 * time.Minute

// OnKernels runs a test on the host for each kernel, with the machine to boot.
func OnKernels(t *testing.T, test func(t *testing.T, machine vm.Machine)) {
	t.Helper()
	for _, kernel := range vm.Kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			machine, err := lab.Machine().OnKernel(t.Context(), kernel)
			if err != nil {
				t.Fatal(err)
			}
			test(t, machine)
		})
	}
}

// NewDisk makes the image of a blank disk whose cache a power cut loses. In the guest, DiskPath finds it by its serial.
func NewDisk(t *testing.T, serial string, length size.Bytes) vm.Disk {
	t.Helper()
	disk := vm.Disk{Path: filepath.Join(t.TempDir(), serial), Serial: serial, Volatile: true}
	if err := vm.CreateImage(disk.Path, length); err != nil {
		t.Fatal(err)
	}
	return disk
}

// Boot boots the machine, runs a scenario in it with the given environment, and returns what it printed. The test
// fails unless the run ends as wanted: nil, or vm.ErrCut.
func Boot(t *testing.T, machine vm.Machine, want error, scenario string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), BootLimit)
	defer cancel()
	var output, console bytes.Buffer
	machine.Output, machine.Console, machine.Env = &output, &console, append(machine.Env, env...)
	err := machine.Run(ctx, vm.TestArgs(scenario)...)
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Fatalf("scenario %s ended with %v, want %v\n%s\nconsole:\n%s", scenario, err, want, &output, &console)
	}
	return output.String()
}

// AckedVar names the environment variable that tells a scenario the number of the last write that was acknowledged before the cut.
const AckedVar = "PLEXCTL_ACKED"
