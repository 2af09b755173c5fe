//go:build linux

package blockdev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// newOffloadDisk is a file as a disk whose queue says what the attributes say.
func newOffloadDisk(t *testing.T, attributes map[string]string) *hostDisk {
	t.Helper()
	d, path := newFileDisk(t, 64*Align)
	if err := os.WriteFile(path, blocks(64, 0xa5), 0o600); err != nil {
		t.Fatal(err)
	}
	h := Host{Root: t.TempDir()}
	d.node, d.info = h.node("sda"), withBlock(d, 512)
	for name, text := range attributes {
		put(t, d.node.dir+"/"+name, []byte(text+"\n"))
	}
	return d
}

// TestHostOffload has devices of many kinds, as sysfs shows them.
func TestHostOffload(t *testing.T) {
	const most, granule = "queue/write_zeroes_max_bytes", "queue/discard_granularity"
	const mode = "device/scsi_disk/0:0:0:0/zeroing_mode"
	tests := map[string]struct {
		attributes map[string]string
		want       Offload
		err        error
	}{
		"loop on a file":       {map[string]string{most: "4294966784", granule: "4096", "loop/backing_file": "/srv/image"}, Offload{4096, 4294966784}, nil},
		"virtio":               {map[string]string{most: "2147483136", granule: "512"}, Offload{0, 2147483136}, nil},
		"NVMe without discard": {map[string]string{most: "131072", granule: "0"}, Offload{0, 131072}, nil},
		"SCSI, thin":           {map[string]string{most: "33553920", granule: "32768", mode: "writesame_16_unmap"}, Offload{32768, 33553920}, nil},
		"SCSI, thick":          {map[string]string{most: "33553920", granule: "0", mode: "writesame"}, Offload{0, 33553920}, nil},
		"multipath":            {map[string]string{most: "33553920", granule: "32768", "slaves/sdb": "", "dm/uuid": "mpath-3600"}, Offload{32768, 33553920}, nil},
		"cannot":               {map[string]string{most: "0", granule: "4096"}, Offload{}, ErrNoOffload},
		"nothing known":        {nil, Offload{}, ErrNoOffload},
		"discards disabled":    {map[string]string{most: "33553920", granule: "0", mode: "writesame_16_unmap"}, Offload{}, ErrNoOffload},
		"disabled, multipath":  {map[string]string{most: "33553920", granule: "0", "slaves/sdb": "", "dm/uuid": "mpath-3600"}, Offload{}, ErrNoOffload},
		"stacked":              {map[string]string{most: "33553920", granule: "512", "slaves/sdb": "", "dm/uuid": "LVM-abc"}, Offload{}, ErrNoOffload},
		"loop on a device":     {map[string]string{most: "33553920", granule: "512", "loop/backing_file": "/dev/sdb"}, Offload{}, ErrNoOffload},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := newOffloadDisk(t, tt.attributes).Offload()
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%+v, %v, want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestHostZeroOffload punches holes into a file, as the kernel's device for a file does.
func TestHostZeroOffload(t *testing.T) {
	d := newOffloadDisk(t, map[string]string{"queue/write_zeroes_max_bytes": fmt.Sprint(8 * Align), "queue/discard_granularity": "4096"})
	if err := ZeroOffload(t.Context(), d, 3*Align, 40*Align); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(d.path)
	want := blocks(64, 0xa5)
	clear(want[3*Align : 43*Align])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, or what should be zero is not, or something else is", err)
	}
	file, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	readOnly := &hostDisk{file: file, node: d.node, path: d.path, info: d.info}
	defer readOnly.Close()
	if err := ZeroOffload(t.Context(), readOnly, 0, Align); !errors.Is(err, unix.EBADF) || errors.Is(err, ErrNoOffload) {
		t.Errorf("open for reading: %v, want %v", err, unix.EBADF)
	}
}
