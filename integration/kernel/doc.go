// Package kernel shows that the kernel behaves as plexctl assumes. The contract tests are those of dm/dmtest: the model in memory
// and the kernel must give the same answers, on each kernel. The others are about file system freezing, block devices, offloaded
// zeroing and allocation maps.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.1 --run '^TestContract$'
package kernel
