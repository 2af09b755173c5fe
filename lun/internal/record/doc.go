// Package record makes the next record of a LUN from the present one, with one function for each change. It also gives each
// plex its role by the record. It is pure: it neither reads nor writes anything.
package record
