// Package lun makes LUNs of drives and mirrors them while they are in use.
//
//	catalog (on the drives)  ─►  layout, plan (pure)  ─►  steps  ─►  kernel  ─►  status  ─►  Properties, Async
//	     the only truth           wanted vs. observed     in order            observed, never stored
//
// Every change has three parts: a new record, the steps that bring the kernel to it, and the commit of the record among these
// steps. After a crash, planning again repairs what is left. A Provider reads all
// drives; a LUN is a handle on one record; AddPlex returns a resync.Async.
//
// The package needs no udev, and moves no user data: the kernel does. It starts one process: the program itself a second time, to
// stand by while a LUN is suspended. A program calls BeGuard first in its main function for that. Several
// goroutines may use one Provider. Several processes may work on the drives of one host, because they all take the same lock
// for changes.
//
// This package is the library's surface. Each verb has a file in internal/ops; ARCHITECTURE.md lists the packages below.
package lun
