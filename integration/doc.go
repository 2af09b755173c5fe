// Package integration is the map of the tests that need a real kernel. The folders below it are laid out by what they prove:
//
//	product    what a user does with plexctl works on a real kernel, with file systems mounted and writers at work
//	codes      each result code that the kernel or a device decides is returned where docs/vds.md says so
//	crash      no acknowledged write is lost when plexctl is killed, the power fails, or a leg fails
//	kernel     the kernel does what dm/dmtest, blockdev and dm assume
//	harness    the tests themselves notice what they are there to notice
//	measure    plexctl beside lvm2 and mdadm: times, traffic, and the same kills, cuts and histories
//	vm         the virtual machines that all of them run in
//	internal   what they share: lab (drives, writers, inventory) and cut (power cuts)
//
// To run one test on one kernel:
//
//	scripts/test.sh --kernel 6.12 --run '^TestScan$'
//	PLEXCTL_KERNELS=6.12+udev go test ./integration/product -run '^TestScan$' -v
//
// The name of a test says where it runs, see package vm: most run in a virtual machine for each kernel. These environment variables
// change a run:
//
//	PLEXCTL_KERNELS    kernels, separated by commas: 5.10, 6.1, 6.12, newest, each with +udev for a machine with udevd
//	PLEXCTL_BIN        the plexctl under test; without it, one is built
//	PLEXCTL_VM_ACCEL   tcg or kvm, in place of what fits the host
//	PLEXCTL_TEST_HOST  1: as root on this machine's own device-mapper, which must have no plexctl drives
//	PLEXCTL_SWEEP      a duration: tests that draw at random go on that long, see package sweep
//	PLEXCTL_SEED       what they draw with
//
// scripts/test.sh runs them through the command in gate, which knows on which kernel each test says something: see there.
package integration
