// Package measure runs plexctl beside lvm2 and mdadm on the same devices. scripts/bench.sh takes the figures of docs/performance.md
// from it. The tests in which lvm2 is killed or loses its power run in scripts/sweep.sh --lvm, and so does the one that the table
// of peers in docs/crash-safety.md is made of.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.12 --run '^TestHostPowerCutBesideLVM$'
package measure
