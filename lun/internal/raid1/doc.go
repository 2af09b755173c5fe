// Package raid1 holds everything that plexctl knows about dm-raid's raid1: how the legs of a live mirror stand, which plexes hold
// all of the data, what metadata a start or a swap needs, and when a mirror is in sync. It is pure: other packages read the status
// and the metadata, and write what this one decides.
package raid1
