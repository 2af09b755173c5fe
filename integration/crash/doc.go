// Package crash shows that no acknowledged write is lost, that every LUN is in a state it may be in, and that no device stays
// suspended: when plexctl is killed after each of its effects, when the power is cut, when the machine restarts from each point
// of a write log, and when a leg fails in the middle of an operation.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.12 --run '^TestKillPoints$'. With PLEXCTL_SWEEP=10m the tests that
// draw at random go on for ten minutes; scripts/sweep.sh runs all of them so.
package crash
