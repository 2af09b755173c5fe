// Package product shows that plexctl does its work on a real kernel: it creates, mirrors, extends, splits, recovers, scans and
// removes while file systems are mounted and a verified writer is at work.
//
// To run one test on one kernel: scripts/test.sh --kernel 6.12+udev --run '^TestScan$'
package product
