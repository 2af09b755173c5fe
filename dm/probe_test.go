//go:build linux

package dm

import "testing"

func TestParsePersonality(t *testing.T) {
	tests := []struct {
		name, mdstat, modules string
		want                  Support
	}{
		{"registered", "Personalities : [raid1] \nunused devices: <none>\n", "", Loaded},
		{"registered among others", "Personalities : [linear] [raid0] [raid1] [raid6] [raid5] \n", "", Loaded},
		{"installed", "Personalities : \n", "kernel/drivers/md/raid1.ko: kernel/drivers/md/md-mod.ko\n", Loadable},
		{"installed, compressed", "", "kernel/drivers/md/raid1.ko.xz: kernel/drivers/md/md-mod.ko.xz\n", Loadable},
		{"only raid10", "Personalities : [raid10] \n", "kernel/drivers/md/raid10.ko: kernel/drivers/md/md-mod.ko\n", Missing},
		{"an array is called so", "Personalities : \nmd0 : active [raid1]\n", "", Missing},
		{"only needed by another", "", "kernel/x.ko: kernel/drivers/md/raid1.ko\n", Missing},
		{"nothing", "", "", Missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parsePersonality(tt.mdstat, tt.modules); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMissingTargetNamesItsOption(t *testing.T) {
	tests := []struct{ target, want string }{
		{"raid", "not supported by this kernel (CONFIG_DM_RAID)"},
		{"mirror", "not supported by this kernel (CONFIG_DM_MIRROR)"},
		{"linear", "not supported by this kernel (CONFIG_BLK_DEV_DM)"},
		{"nonesuch", "not supported by this kernel"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			if got := missing(tt.target).Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestVersionText(t *testing.T) {
	if got := (Version{4, 48, 0}).String(); got != "4.48.0" {
		t.Errorf("got %q", got)
	}
}
