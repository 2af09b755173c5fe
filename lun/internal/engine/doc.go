// Package engine carries changes out. A change is a list of steps, which are data. Run executes them, and carryOut takes them
// back when one fails. Every change from one table of a LUN to the next goes through Swap. Nothing outside this package
// suspends or resumes a device.
package engine
