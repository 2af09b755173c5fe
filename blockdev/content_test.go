//go:build linux

package blockdev

import (
	"errors"
	"testing"

	"github.com/plexctl/plexctl/blockdev/allocation"
)

// TestHostAllocationUnknown has files in place of devices: none answers as a device does.
func TestHostAllocationUnknown(t *testing.T) {
	h := Host{Root: t.TempDir()}
	for name, attribute := range map[string]string{
		"vda":   "queue/discard_granularity",
		"loop0": "loop/backing_file",
		"sda":   "device/scsi_disk/0:0:0:0/thin_provisioning",
		"sda1":  "partition",
	} {
		d, _ := newFileDisk(t, Align)
		d.node = h.node(name)
		put(t, d.node.dir+"/"+attribute, []byte("1\n"))
		if a, err := h.allocation(t.Context(), d); a != nil || !errors.Is(err, allocation.ErrUnknown) {
			t.Errorf("%s: %v, want %v", name, err, allocation.ErrUnknown)
		}
	}
	if _, err := h.Allocation(t.Context(), t.TempDir()); !errors.Is(err, ErrNotBlock) {
		t.Errorf("folder: %v, want %v", err, ErrNotBlock)
	}
	if _, err := h.Allocation(t.Context(), t.TempDir()+"/none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("nothing: %v, want %v", err, ErrNotExist)
	}
}
