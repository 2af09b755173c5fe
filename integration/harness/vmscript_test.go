package harness

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
)

// TestHostVMScript runs commands in a machine of scripts/vm.sh, one boot for all that must work and one for a failure.
//
//gate:when harness
func TestHostVMScript(t *testing.T) {
	series, _, udev := strings.Cut(vm.Kernels()[0], "+")
	options := []string{"--kernel", series, "--disk", "8MiB", "--disk", "16MiB"}
	if udev {
		options = append(options, "--udev")
	}
	t.Run("a script's tools are there", func(t *testing.T) {
		const script = `set -e
			uname -r
			blockdev --getsize64 /dev/vda /dev/vdb
			test -x scripts/demo.sh
			plexctl version >/dev/null
			mkfs.ext4 -q /dev/vda
			mount /dev/vda /mnt
			echo kept >/mnt/file
			sha256sum /mnt/file | awk '{ print $1 }' | cut -c1-8
			umount /mnt
			e2fsck -fn /dev/vda &>/dev/null
			dev=$(losetup --find --show --sector-size 4096 /dev/vdb)
			blockdev --getss "$dev"
			cmp <(head -c 64 /dev/vdb) <(head -c 64 "$dev")`
		out := lab.RunTool(t, filepath.Join(lab.Root(), "scripts/vm.sh"), append(options, "--", "bash", "-c", script)...)
		release, rest, _ := strings.Cut(out, "\n")
		if series != "newest" && !strings.HasPrefix(release, series+".") {
			t.Errorf("kernel %q, want %s", release, series)
		}
		if want := "8388608\n16777216\n78051faa\n4096\n"; rest != want {
			t.Errorf("printed %q, want %q", rest, want)
		}
	})
	t.Run("exit status", func(t *testing.T) {
		out, err := lab.TryTool(t, filepath.Join(lab.Root(), "scripts/vm.sh"), append(options, "--", "bash", "-c", "exit 7")...)
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 7 {
			t.Errorf("vm.sh: %v, want exit status 7:\n%s", err, out)
		}
	})
	for name, args := range map[string][]string{
		"unknown option": {"--plexless"},
		"unknown kernel": {"--kernel", "4.19", "--", "true"},
		"size of a disk": {"--disk", "large", "--", "true"},
		"file":           {"--file", "nowhere", "--", "true"},
		"tool":           {"--tool", "plexless", "--", "true"},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			if out, err := lab.TryTool(t, filepath.Join(lab.Root(), "scripts/vm.sh"), args...); err == nil {
				t.Errorf("vm.sh %s succeeded:\n%s", strings.Join(args, " "), out)
			}
		})
	}
}
