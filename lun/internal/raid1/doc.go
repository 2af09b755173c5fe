// Package raid1 holds all that plexctl knows about dm-raid's raid1. It reads the state of a live mirror's legs, and decides
// which plexes hold all of the data. It decides which metadata a start or a swap needs, and when a mirror is in sync. It is
// pure: other packages read status and metadata, and write what this package returns.
package raid1
