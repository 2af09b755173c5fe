package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// What the scenarios of TestHostPowerCut agree on.
const (
	powerSerial = "power"
	powerLength = 4 * size.MiB
)

// TestHostPowerCut shows that what a guest was told is durable is there after a power cut. That the cut loses what is not
// is shown in package vm.
//
//gate:when harness
func TestHostPowerCut(t *testing.T) {
	cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Disks = []vm.Disk{cut.NewDisk(t, powerSerial, powerLength)}
		doomed := machine
		doomed.CutOn = "acknowledged 500\n"
		printed := cut.Boot(t, doomed, vm.ErrCut, "TestGuestWrites")
		acked := strings.TrimSpace(printed[strings.LastIndex(printed, " ")+1:])
		cut.Boot(t, machine, nil, "TestGuestChecks", cut.AckedVar+"="+acked)
	})
}

// powerStamps are the writes of the scenarios.
func powerStamps() lab.Stamps { return lab.Stamps{Seed: 1, Length: powerLength} }

// TestGuestWrites writes until the power is cut.
func TestGuestWrites(t *testing.T) {
	w := &lab.Writer{Path: lab.DiskPath(t, powerSerial), Stamps: powerStamps(), Flags: unix.O_DSYNC}
	w.OnAck = func(n uint64) {
		if n%100 == 0 {
			fmt.Println("acknowledged", n)
		}
	}
	w.Start(t)
	<-w.Ended
	t.Fatalf("writer ended: %v", w.Err)
}

// TestGuestChecks compares the disk with the writes that were acknowledged before the cut; any that came after them may
// be there as well.
func TestGuestChecks(t *testing.T) {
	acked, err := strconv.ParseUint(os.Getenv(cut.AckedVar), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := powerStamps().Check(lab.DiskPath(t, powerSerial), acked, 1<<32); err != nil {
		t.Error(err)
	}
}
