// Package host is the state of this machine at one moment, and the means to change it. It covers drives with their catalogs,
// devices in the kernel, metadata slots, zeroing, and allocation of space. It makes no decision about a LUN: the pure packages
// below and package ops above do that.
package host
