//go:build linux

package blockdev

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/devno"
)

// put writes a file of a host that consists of folders.
func put(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzIDs has any content in the files that name a host. What comes of it can be written into a label, names this host
// alone, and is the same when the files are padded as firmware and editors do.
func FuzzIDs(f *testing.F) {
	f.Add([]byte("4f7a9d0e6a0b4c5e8d1f2a3b4c5d6e7f\n"), []byte("03AA02FC-0414-05F0-3E06-B30700080009\n"))
	f.Add([]byte("uninitialized\n"), []byte("00000000-0000-0000-0000-000000000000"))
	dir := f.TempDir()
	h := Host{Root: dir}
	f.Fuzz(func(t *testing.T, machine, firmware []byte) {
		put(t, filepath.Join(h.Root, "etc/machine-id"), machine)
		put(t, h.sys("class/dmi/id/product_uuid"), firmware)
		ids := h.IDs()
		for _, id := range ids {
			if len(id) < 16 || len(id) > 64 || strings.Trim(id, "0123456789abcdef-") != "" {
				t.Errorf("id %q", id)
			}
			if !strings.Contains(strings.ToLower(string(machine)+"\n"+string(firmware)), id) {
				t.Errorf("id %q is in neither file", id)
			}
		}
		if len(machine) > 1000 {
			return
		}
		put(t, filepath.Join(h.Root, "etc/machine-id"), slices.Concat([]byte(" \t"), machine, []byte("\r\n\x00")))
		if again := h.IDs(); !slices.Equal(ids, again) {
			t.Errorf("%q, with padding %q", ids, again)
		}
	})
}

// FuzzUsers has any content in the tables of mounts and of swap. Users are named by what stands there.
func FuzzUsers(f *testing.F) {
	f.Add([]byte("36 35 8:1 / /srv rw,noatime shared:1 - ext4 /dev/sda1 rw\n"), []byte("Filename Type Size\n/dev/sda1 partition 1 0 -2\n"))
	f.Add([]byte("36 35 8:1 / /mnt/a\\040b rw - btrfs /dev/sda1 rw\n"), []byte("\\057dev\\057sda1 file\n"))
	dir := f.TempDir()
	h := Host{Root: dir}
	put(f, h.sys("class/block/sda1/dev"), []byte("8:1\n"))
	f.Fuzz(func(t *testing.T, mounts, swaps []byte) {
		put(t, h.proc("self/mountinfo"), mounts)
		put(t, h.proc("swaps"), swaps)
		devs := []devno.No{{Major: 8, Minor: 1}}
		for _, u := range append(h.mounts(devs), h.swaps(devs)...) {
			if u.Kind == "mount" && !appears(u.Name, mounts) || u.Kind == "swap" && !appears(u.Name, swaps) {
				t.Errorf("user %+v is in neither table", u)
			}
		}
		if bytes.Contains(mounts, []byte(" 8:1 ")) {
			_, _ = h.Users(context.Background(), devs[0]) // it must come to an end
		}
	})
}

// appears reports whether a table has a word that stands for name.
func appears(name string, table []byte) bool {
	return slices.ContainsFunc(strings.Fields(string(table)), func(word string) bool { return unescape(word) == name })
}

// FuzzUnescape undoes escapes. Text without any stays as it is, and all that are undone give one byte for four.
func FuzzUnescape(f *testing.F) {
	for _, text := range []string{`/mnt/a\040b`, `\134`, `\`, `\1`, `\400`, `\\040`, `a\011\012`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := unescape(text)
		if !strings.Contains(text, `\`) && got != text || len(got) > len(text) || (len(text)-len(got))%3 != 0 {
			t.Errorf("%q becomes %q", text, got)
		}
		escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(text)
		if back := unescape(escaped); back != text {
			t.Errorf("%q escaped and back is %q", text, back)
		}
	})
}
