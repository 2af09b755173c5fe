// Package lun makes LUNs of drives and mirrors them while they are in use.
//
//	catalog (on the drives)  ─►  layout, plan (pure)  ─►  steps  ─►  kernel  ─►  status  ─►  Properties, Async
//	     the only truth           wanted vs. observed     in order            observed, never stored
//
// Every change is the same three things: a new record, the steps that bring the kernel from what it has to what the
// record wants, and the commit of the record at one place among these steps. A crash anywhere is repaired by planning
// again. A Provider reads all drives; a LUN is a handle on one record; AddPlex returns a resync.Async.
//
// The package holds no package state, starts no process, needs no udev, and moves no user data: the kernel does. One
// Provider may be used by several goroutines; several processes may work on the same drives of one host, as all take
// the same lock for changes.
//
// This package is the library's surface. What a verb does is in internal/ops, a file each; ARCHITECTURE.md names the rooms below.
package lun
