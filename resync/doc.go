// Package resync watches long operations and reports their progress and end.
//
//	Operation  what is watched: look once, record the end, cancel; package lun implements it
//	Monitor    looks at every operation from one goroutine: often at the start and near the end, seldom in between
//	Async      the handle that a caller holds (IVdsAsync): QueryStatus, Wait, Cancel
//
// The package knows no devices and no catalog, and stores nothing. An operation belongs to its LUN and outlives the
// process. Dropping a handle does not cancel the operation.
package resync
