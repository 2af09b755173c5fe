// Package lab is what tests on a real kernel work with.
//
//	NewLab     first in a test: at its end, nothing that the test made may be left
//	Rig        drives, and the LUNs on them, through the library and through the command
//	Live       a LUN that a verified Writer is at work on
//	Brittle    a drive that fails and heals as a test wants it
//	Trace      runs a command and kills it after a chosen effect
//	State      what a refused call must leave as it was
//
// Main starts the tests of a package where they belong. Helpers fail the test that calls them, and clean up after it.
package lab
