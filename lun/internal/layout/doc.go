// Package layout says which device-mapper devices a LUN needs, with which tables. It also plans the steps that bring the kernel
// from its present state to them. It is pure: a layout depends on the record only, a plan on the layout and on what the kernel
// has.
package layout
