package devno

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for _, text := range []string{"", "8", "8:", ":1", "a:b", "8:1:2", "-1:0", "8:4294967296", "8:1 ", "0:0"} {
		if n, err := Parse(text); err == nil || !n.IsZero() {
			t.Errorf("%q is taken for %s, error %v", text, n, err)
		}
	}
	for text, want := range map[string]No{"8:0": {8, 0}, "0:25": {0, 25}, "259:1048575": {259, 1048575}} {
		if n, err := Parse(text); err != nil || n != want {
			t.Errorf("%q: %s, %v", text, n, err)
		}
	}
}

// TestDev holds numbers against the kernel's encoding (new_encode_dev in include/linux/kdev_t.h).
func TestDev(t *testing.T) {
	for n, want := range map[No]uint64{
		{}:             0,
		{8, 16}:        0x810,
		{253, 255}:     0xfdff,
		{253, 256}:     0x10fd00,
		{259, 1048575}: 0xfff103ff,
	} {
		if got := n.Dev(); got != want {
			t.Errorf("%s is %#x, want %#x", n, got, want)
		}
		if got := FromDev(want); got != n {
			t.Errorf("%#x is %s, want %s", want, got, n)
		}
	}
}

func TestFromStat(t *testing.T) {
	st := unix.Stat_t{Mode: unix.S_IFBLK | 0o660, Rdev: 0x810}
	if n, ok := FromStat(&st); !ok || n != (No{8, 16}) {
		t.Errorf("block device: %s, %t", n, ok)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Dir(file), "/dev/null"} {
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if n, ok := FromStat(&st); ok || !n.IsZero() {
			t.Errorf("%s is taken for block device %s", path, n)
		}
	}
}

// FuzzParse reads any text as a number. What is one reads the same when it is written again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"8:16", "253:4294967295", "8:", ":", "8:16:1", "-1:0", "4294967296:0", "8: 1", "0:0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if (err == nil) == n.IsZero() {
			t.Errorf("%q: %s comes with the error %v", text, n, err)
		}
		if err != nil {
			return
		}
		if again, err := Parse(n.String()); err != nil || again != n {
			t.Errorf("%q: %s, again %s, %v", text, n, again, err)
		}
		if n.Major < 1<<12 && n.Minor < 1<<20 && FromDev(n.Dev()) != n {
			t.Errorf("%s is another device as a dev_t", n)
		}
	})
}
