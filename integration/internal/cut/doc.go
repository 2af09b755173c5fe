// Package cut is what the tests that cut the power or kill plexctl share.
//
// Tests that cut the power run on the host: they boot a machine for a scenario, a TestGuest… function, cut the power, and boot
// the next machine with the same disks. The guest prints what it knows at the cut; its environment tells the next guest what it
// must know.
package cut
