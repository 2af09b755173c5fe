// Package host is what is on this machine at one moment, and the means to change it: drives with their catalogs, the devices that the
// kernel has, metadata slots, zeroing, allocation of room. It decides nothing about a LUN: the pure packages below do, and package ops
// above.
package host
