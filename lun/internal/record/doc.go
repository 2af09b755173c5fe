// Package record makes the next record of a LUN out of the present one: one function for each change. It also says which role
// each plex has by its record. Everything in it is pure: it neither reads nor writes anything.
package record
