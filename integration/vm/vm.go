// Package vm boots Linux kernels in QEMU for tests that need device-mapper, and is the first process of the machines it
// boots.
//
//	host                                        guest
//	────                                        ─────
//	FindKernel   Debian's packages, cached
//	Machine.Run  initramfs: this binary ──────► Init    mounts, modules, udevd
//	             QEMU, bounded in time             │
//	             Output  ◄── virtio port ─────────    └──► the command: tests, a script, a shell
//	             Console ◄── ttyS0 ───────────── kernel log
//	             verdict ◄── virtio port ─────── the command's exit status
//
// A binary that may be booted calls Init before anything else; nothing but that binary, kernel modules and the tools
// named in Machine goes into the guest. The only way for a run to succeed is the verdict: a kernel panic, a guest that
// hangs, a QEMU that dies are all errors.
//
// # Tests
//
// TestMain hands itself to Main. Main sorts tests by the start of their names:
//
//	TestHost…    run on the host; they boot Machines, several in a row where they cut the power
//	TestGuest…   scenarios: run only in a guest, and only when a TestHost… asks for them with -test.run
//	all others   run in a guest for each kernel of PLEXCTL_KERNELS, or right here with PLEXCTL_TEST_HOST=1
//
// # Power cuts
//
// A Disk outlives its Machine. The power is cut from outside with Machine.CutOn or from inside with Cut; Run then
// returns ErrCut, and the next Machine with the same Disks finds every write that the disk had completed, and none that
// it had not been given. With Disk.Volatile it finds less: what had not been flushed is lost.
//
// The package does not run on anything but amd64, and its guests have no network.
package vm

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/plexctl/plexctl/size"
)

// Errors of Machine.Run. They are wrapped with what the console showed last.
var (
	// ErrNoVerdict means that the machine went off without saying how the command ended: a panic, a reset, a crash of QEMU.
	ErrNoVerdict = errors.New("machine ended without a verdict")
	// ErrHung means that the time was up; the console then shows what the tasks of the guest were blocked on.
	ErrHung = errors.New("machine did not end in time")
	// ErrCut means that the power was cut, as asked for.
	ErrCut = errors.New("power cut")
)

// ExitError is the verdict of a command that ran to its end and did not succeed.
type ExitError struct {
	Code int // the exit status; 128 plus the number of the signal that ended it
}

// Error is the exit status in words.
func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Machine describes a virtual machine. The zero value of every field but Kernel is right for a quick run.
type Machine struct {
	Kernel Kernel
	// Init is the binary that becomes the first process: it must call Init. Empty: the running executable.
	Init string
	// Disks are attached in order: vda, vdb, …
	Disks []Disk
	// Modules are loaded at boot, in order, each as "name" or "name param=value …". Those every machine needs, device-mapper
	// and loop among them, need no mention; others are loaded when the kernel asks for them.
	Modules []string
	// Tools are commands of the host that are copied with their shared libraries. A missing one is an error.
	Tools []string
	// Files are copied as they are: path in the guest to path on the host. A directory is copied with all it holds.
	Files map[string]string
	// Dir is the working folder of the command; /root when empty.
	Dir string
	// Env is added to the environment of the command, as "key=value".
	Env []string
	// Udev starts systemd-udevd with the host's rules and waits until it has settled.
	Udev bool
	// Memory is 2 GiB when zero; CPUs is 2 when zero.
	Memory size.Bytes
	CPUs   int
	// Output takes what the command prints, Console what the kernel prints, both while the machine runs. Nil discards.
	Output  io.Writer
	Console io.Writer
	// Terminal gives the command the guest's console as its terminal, and that is the standard input and output of this
	// process; Output then gets nothing, Console nothing either.
	Terminal bool
	// CutOn cuts the power as soon as a line of the output contains it; with CutAfter, so long after that. A machine that has
	// ended by then was not cut.
	CutOn    string
	CutAfter time.Duration
}

// Disk is a raw image on the host that a Machine sees as a virtio disk.
type Disk struct {
	Path string // of an existing file, whose length is the size of the disk
	// Serial names the disk inside the guest, see DiskPath; at most 20 bytes.
	Serial string
	// Block is the logical and physical block size; 512 when zero.
	Block size.Bytes
	// Volatile gives the disk a write cache that a power cut loses: after ErrCut the image holds what it held at the last
	// flush, and of what was written since, each write or not, at random.
	Volatile bool
}
