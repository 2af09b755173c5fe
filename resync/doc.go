// Package resync watches long operations and drives their handles.
//
//	Operation  what is watched: one look, one record of the end, one cancel; implemented by package lun
//	Monitor    looks at every operation with one goroutine, rarely in the middle, often at both ends
//	Async      the handle a caller holds (IVdsAsync): QueryStatus, Wait, Cancel
//
// The package knows no device and no catalog, and stores nothing: an operation belongs to its LUN and outlives the
// process. A handle that is dropped cancels nothing.
package resync
