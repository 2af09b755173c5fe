// Package layout says which device-mapper devices a LUN needs, with which tables, and by which steps the kernel gets from what it
// has to these. It is pure: a layout is a function of the record, and a plan is a function of a layout and of what the kernel has.
package layout
