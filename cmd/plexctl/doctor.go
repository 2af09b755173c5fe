package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
)

// level is how bad a finding is.
type level string

// Values of level.
const (
	levelOK   level = "ok"
	levelWarn level = "warn" // plexctl works; something may surprise
	levelFail level = "fail" // plexctl cannot do all of its work
)

// facts are what doctor judges.
type facts struct {
	root    bool   // whether plexctl may use device-mapper
	release string // of the kernel: "6.12.48-amd64"
	kernel  dm.Report
	dmErr   error // why kernel is empty
	udev    bool  // udevd runs
	lockDir string
	lockErr error // why the lock cannot be taken there
	devices []dm.Device

	lvmFilter bool // LVM leaves plexes alone
}

func newDoctor(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what plexctl needs of this machine",
		Long: "Doctor checks the kernel, its device-mapper targets and modules, privileges, drives, and devices that nobody knows,\n" +
			"and says what to do about each finding. It changes nothing, but the kernel may load modules. The exit status is 1 when\n" +
			"a check has failed.",
	}
	c.takes(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context()) }
	return cmd
}

// doctor judges the machine, and also the drives if they can be read.
func (c *cli) doctor(ctx context.Context) error {
	f := c.examine(ctx)
	f.root = c.root
	conf := c.checkConfig()
	checks := append(checkMachine(f), conf)
	if f.root && f.dmErr == nil && conf.Level == levelOK {
		err := c.with(ctx, func(ctx context.Context, s *session) error {
			checks = slices.Concat(checks, checkDrives(s.host), checkDevices(f.devices, s.host), checkLVM(ctx, f.lvmFilter, s.host))
			return nil
		})
		if err != nil {
			checks = append(checks, checkDoc{"drives", levelFail, err.Error(), newErrorDoc(err).Hint})
		}
	}
	failed := slices.ContainsFunc(checks, func(d checkDoc) bool { return d.Level == levelFail })
	doc, p := doctorDocument{!failed, checks}, c.printer()
	if err := p.print(doc, p.checkText(checks)); err != nil || doc.OK {
		return err
	}
	return exitOther
}

// checkConfig judges the configuration file and the flags that go with it.
func (c *cli) checkConfig() checkDoc {
	devices, err := c.devices()
	switch {
	case err != nil:
		return checkDoc{"configuration", levelFail, err.Error(), newErrorDoc(err).Hint}
	case devices.Empty():
		return checkDoc{"configuration", levelOK, "every device is read", ""}
	}
	return checkDoc{"configuration", levelOK, devices.String(), ""}
}

func (p printer) checkText(checks []checkDoc) string {
	labels := map[level]string{
		levelOK: p.paint(sgrGreen, "ok  "), levelWarn: p.paint(sgrYellow, "warn"), levelFail: p.paint(sgrRed, "FAIL"),
	}
	var text strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&text, "%s  %s: %s\n", labels[c.Level], c.Name, c.Text)
		if c.Advice != "" {
			fmt.Fprintf(&text, "      %s\n", c.Advice)
		}
	}
	return text.String()
}

// check is a finding: good if a thing is as plexctl needs it, else bad with advice.
func check(name string, ok bool, good, bad, advice string) checkDoc {
	if ok {
		return checkDoc{name, levelOK, good, ""}
	}
	return checkDoc{name, levelFail, bad, advice}
}

// checkMachine judges everything about the machine but its drives.
func checkMachine(f facts) []checkDoc {
	checks := []checkDoc{
		check("privilege", f.root, "running as root", "not running as root", "run plexctl as root; more checks are made then"),
		checkRelease(f.release),
	}
	switch {
	case f.denied(f.dmErr): // root alone can tell
	case f.dmErr != nil:
		advice := "the kernel needs CONFIG_BLK_DEV_DM: `modprobe dm-mod`, or a kernel that has it"
		if !errors.Is(f.dmErr, dm.ErrNotSupported) {
			advice = ""
		}
		checks = append(checks, checkDoc{"device-mapper", levelFail, f.dmErr.Error(), advice})
	default:
		checks = append(checks, checkInterface(f.kernel.Interface), checkTarget(f.kernel, "linear", "CONFIG_BLK_DEV_DM", "dm-mod"),
			checkTarget(f.kernel, "raid", "CONFIG_DM_RAID", "dm-raid"), checkRaid1(f.kernel.Raid1))
	}
	links := map[bool]string{true: "runs and makes the links in /dev/mapper", false: "does not run; plexctl makes the links in /dev/mapper"}
	checks = append(checks, checkDoc{"udev", levelOK, links[f.udev], ""})
	if f.denied(f.lockErr) {
		return checks
	}
	return append(checks, check("lock", f.lockErr == nil, f.lockDir+" is writable",
		fmt.Sprintf("%s: %v", f.lockDir, f.lockErr), "make "+f.lockDir+" writable: a tmpfs at /run does"))
}

// denied reports whether an error is only about who runs plexctl. It says nothing about the machine then.
func (f facts) denied(err error) bool { return !f.root && errors.Is(err, os.ErrPermission) }

// checkRelease judges a kernel release such as "6.12.48-amd64".
func checkRelease(release string) checkDoc {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return checkDoc{"kernel", levelWarn, fmt.Sprintf("release %q is not understood", release), ""}
	}
	if major < 5 || major == 5 && minor < 10 {
		return checkDoc{"kernel", levelFail, release + " is older than 5.10", "use a kernel of 5.10 or later"}
	}
	if fault, bad := dm.FaultOf(release); bad {
		return checkDoc{"kernel", levelFail, release + ": " + fault.Text, "use another kernel before mirroring a LUN; see " + fault.Link}
	}
	return checkDoc{"kernel", levelOK, release, ""}
}

// checkInterface judges the version of the ioctl interface. 4.37 brought events for all devices at once (Linux 4.13).
func checkInterface(v dm.Version) checkDoc {
	if v.Major != 4 || v.Minor < 37 {
		return checkDoc{"device-mapper", levelWarn, "interface " + v.String() + " has no events", "plexctl polls; use a newer kernel"}
	}
	return checkDoc{"device-mapper", levelOK, "interface " + v.String(), ""}
}

func checkTarget(r dm.Report, name, option, module string) checkDoc {
	version, ok := r.Targets[name]
	return check(name+" target", ok, "version "+version.String(), "missing", kernelAdvice(option, module))
}

func checkRaid1(s dm.Support) checkDoc {
	how, ok := map[dm.Support]string{dm.Loaded: "loaded", dm.Loadable: "a module, loaded when it is needed"}[s]
	return check("raid1 personality", ok, how, "neither loaded nor installed for this kernel", kernelAdvice("CONFIG_MD_RAID1", "raid1"))
}

func kernelAdvice(option, module string) string {
	return fmt.Sprintf("`modprobe %s`, install the kernel's modules, or use a kernel with %s", module, option)
}

// checkDrives judges the drives and their catalogs.
func checkDrives(h *host) []checkDoc {
	checks := listOf(h.Problems(), func(problem error) checkDoc {
		doc := newErrorDoc(problem)
		return checkDoc{"drives", levelWarn, doc.Message, doc.Hint}
	})
	paths := h.DrivePaths()
	for _, l := range h.LUNs() {
		record, err := l.Record()
		if err != nil {
			continue // it has a problem
		}
		for _, id := range record.Drives() {
			if paths[id] == "" {
				checks = append(checks, checkDoc{"drives", levelWarn, fmt.Sprintf("drive %s of %s is missing", id, l.Name()), "attach it, and see `plexctl status`"})
			}
		}
	}
	if len(checks) == 0 {
		return []checkDoc{{"drives", levelOK, fmt.Sprintf("%d, all can be read", len(h.Drives())), ""}}
	}
	return checks
}

// checkDevices looks for devices of plexctl that belong to no LUN. The dm UUID of one begins with the LUN's GUID.
func checkDevices(devices []dm.Device, h *host) []checkDoc {
	var checks []checkDoc
	for _, d := range devices {
		isOf := func(l *lun.LUN) bool { return strings.HasPrefix(d.UUID, "PLEX-"+l.ID().String()) }
		if !strings.HasPrefix(d.UUID, "PLEX-") || slices.ContainsFunc(h.LUNs(), isOf) {
			continue
		}
		checks = append(checks, checkDoc{
			"devices", levelFail, d.Name + " (" + d.UUID + ") belongs to no LUN on the drives that are here",
			"attach its drives and run `plexctl reenumerate`; if its data is not needed, remove it: `dmsetup remove " + d.Name + "`",
		})
	}
	if len(checks) == 0 {
		return []checkDoc{{"devices", levelOK, "every device of plexctl belongs to a LUN", ""}}
	}
	return checks
}
