// Package codes provokes the result codes of docs/vds.md on a real kernel, through the library and through the command: those
// that the kernel or a device decides, and in a sweep all. Each refusal must leave the devices and the drives as they were.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.12 --run '^TestCodes/VDS_E_IO_ERROR'
package codes
