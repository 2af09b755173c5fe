// Package harness tests the tests: the lab notices what is left behind, the writer notices lost writes, a machine's power cut
// keeps what was flushed, and the scripts make the devices and machines that they promise.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.12 --run '^TestLabNoticesLeaks$'
package harness
