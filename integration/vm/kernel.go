package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultKernels are the series that PLEXCTL_KERNELS stands for when it is not set.
const DefaultKernels = "6.1,6.12"

// Kernel is a Debian kernel, unpacked in the user's cache folder.
type Kernel struct {
	Series  string // what was asked for: "6.1"
	Release string // what uname says in the guest: "6.1.0-56-cloud-amd64"
	Image   string // path of the bootable image
	Modules string // path of the folder that lib/modules/<release> was unpacked to
}

// FindKernel is the kernel of a series: one that an earlier call unpacked, else one fetched from the Debian archive that
// this machine's apt is set up for. Series are "6.1", "6.12", "5.10" and "newest". To fetch a series anew, remove its
// folder from plexctl/kernels in the user's cache folder.
func FindKernel(ctx context.Context, series string) (Kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Kernel{}, fmt.Errorf("find kernel %s: %w", series, err)
	}
	dir := filepath.Join(cache, "plexctl", "kernels")
	unlock, err := lockDir(dir)
	if err != nil {
		return Kernel{}, fmt.Errorf("find kernel %s: %w", series, err)
	}
	defer unlock()
	tree := filepath.Join(dir, series)
	if _, err := os.Stat(tree); errors.Is(err, os.ErrNotExist) {
		err = fetchKernel(ctx, series, tree)
		if err != nil {
			return Kernel{}, fmt.Errorf("fetch kernel %s: %w", series, err)
		}
	}
	return openKernel(series, tree)
}

// lockDir makes dir and takes its lock, so that two test binaries do not fetch the same kernel at once.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing releases the lock; nothing was written through f
}

// openKernel describes the kernel unpacked in tree. Modules are below usr since Debian 13, and the image is among them
// after that.
func openKernel(series, tree string) (Kernel, error) {
	modules, err := onlyMatch(filepath.Join(tree, "lib/modules/*"), filepath.Join(tree, "usr/lib/modules/*"))
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", series, err)
	}
	release := filepath.Base(modules)
	image, err := onlyMatch(filepath.Join(tree, "boot", "vmlinuz-"+release), filepath.Join(modules, "vmlinuz"))
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", series, err)
	}
	return Kernel{Series: series, Release: release, Image: image, Modules: modules}, nil
}

// onlyMatch is the one file that matches any of the patterns.
func onlyMatch(patterns ...string) (string, error) {
	var all []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		all = append(all, found...)
	}
	if len(all) != 1 {
		return "", fmt.Errorf("%d files match %s", len(all), strings.Join(patterns, " or "))
	}
	return all[0], nil
}
