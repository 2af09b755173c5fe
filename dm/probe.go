//go:build linux

package dm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// TargetVersion is the version of a target. The kernel loads the module of the target if it can. It fails with
// ErrNotSupported when the kernel has no such target. Kernels before 5.3 do so for a module that is not loaded too.
func (c *Control) TargetVersion(ctx context.Context, target string) (Version, error) {
	const op = "find target"
	if err := ready(ctx, op, target); err != nil {
		return Version{}, err
	}
	rep, err := c.call(request{command: unix.DM_GET_TARGET_VERSION, name: target, room: firstRoom})
	if unknownCommand(err) {
		rep, err = c.call(request{command: unix.DM_LIST_VERSIONS, room: firstRoom})
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return Version{}, &Error{Op: op, Device: target, Err: err}
	}
	versions, err := decodeVersions(rep.payload)
	if err != nil {
		return Version{}, &Error{Op: op, Device: target, Err: err}
	}
	v, ok := versions[target]
	if !ok {
		return Version{}, &Error{Op: op, Device: target, Err: missing(target)}
	}
	return v, nil
}

// missing is the error for a target that the kernel does not have. It names the build option of the target.
func missing(target string) error {
	options := map[string]string{"linear": "CONFIG_BLK_DEV_DM", "raid": "CONFIG_DM_RAID", "mirror": "CONFIG_DM_MIRROR"}
	if option, ok := options[target]; ok {
		return fmt.Errorf("%w (%s)", ErrNotSupported, option)
	}
	return ErrNotSupported
}

// Support says whether a kernel has something.
type Support string

// Values of Support.
const (
	Loaded   Support = "loaded"   // built in, or the module is loaded
	Loadable Support = "loadable" // the module is installed for the running kernel
	Missing  Support = "missing"  // neither
)

// Report is what a kernel has of what plexctl needs.
type Report struct {
	Interface Version
	Targets   map[string]Version // those of linear, raid and mirror that are there
	Raid1     Support            // md's raid1 personality, a module apart from the raid target (CONFIG_MD_RAID1)
}

// Probe asks the kernel what it has. The kernel loads the modules of the targets for it. It loads raid1 later, for the first
// table that needs it.
func (c *Control) Probe(ctx context.Context) (Report, error) {
	v, err := c.Version(ctx)
	if err != nil {
		return Report{}, err
	}
	report := Report{Interface: v, Targets: map[string]Version{}, Raid1: raid1Support()}
	for _, name := range []string{"linear", "raid", "mirror"} {
		v, err := c.TargetVersion(ctx, name)
		switch {
		case err == nil:
			report.Targets[name] = v
		case !errors.Is(err, ErrNotSupported):
			return Report{}, err
		}
	}
	return report, nil
}

// CanMirror fails with ErrNotSupported when the kernel has no raid target or no raid1 personality. See MissingModule. The kernel
// loads the module of the target for it.
func (c *Control) CanMirror(ctx context.Context) error {
	if _, err := c.TargetVersion(ctx, "raid"); err != nil {
		return err
	}
	if raid1Support() == Missing {
		return &Error{Op: "find personality", Device: "raid1", Err: ErrNotSupported}
	}
	return nil
}

// raid1Support looks for the personality in /proc/mdstat and among the installed modules.
func raid1Support() Support {
	mdstat, _ := os.ReadFile("/proc/mdstat") // missing until md is loaded
	var name unix.Utsname
	_ = unix.Uname(&name) // it cannot fail
	modules, _ := os.ReadFile(filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:]), "modules.dep"))
	return parsePersonality(string(mdstat), string(modules))
}

// parsePersonality decides from the texts of /proc/mdstat ("Personalities : [raid1] [raid6]") and modules.dep
// ("kernel/drivers/md/raid1.ko.xz: kernel/drivers/md/md-mod.ko.xz").
func parsePersonality(mdstat, modules string) Support {
	first, _, _ := strings.Cut(mdstat, "\n")
	if strings.HasPrefix(first, "Personalities") && strings.Contains(first, "[raid1]") {
		return Loaded
	}
	for line := range strings.Lines(modules) {
		module, _, _ := strings.Cut(line, ":")
		if strings.HasPrefix(filepath.Base(module), "raid1.ko") {
			return Loadable
		}
	}
	return Missing
}
