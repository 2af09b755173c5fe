// Package engine carries changes out. A change is a list of steps, which are data; Run executes them, and CarryOut takes them back
// when one fails. Swap is the one way from one table of a LUN to the next. Nothing outside this package suspends or resumes a device.
package engine
