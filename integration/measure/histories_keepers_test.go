package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// keeper is who keeps a mirror: plexctl, lvm2 or mdadm, with its defaults.
type keeper interface {
	name() string
	create(drives []string)                                          // makes the mirror with a leg on each drive
	start(drives []string, alone bool) (said string, isStarted bool) // as at a boot, or as one who wants to go on with a half
	stop() error
	path() string
	action() dm.Action // what the kernel copies; idle: nothing
	dropped() bool     // the kernel has dropped a leg
	legs() []leg
	state() string // what its own command says
}

// leg is where a leg of a running mirror is; without a device it is missing.
type leg struct {
	device string
	start  size.Bytes
}

// plexctlKeeper is plexctl.
type plexctlKeeper struct{ t *testing.T }

func (plexctlKeeper) name() string { return "plexctl" }

func (plexctlKeeper) path() string { return "/dev/mapper/plex-web1" }

func (p plexctlKeeper) create(drives []string) {
	p.t.Helper()
	lab.RunTool(p.t, "plexctl", append([]string{"drive", "init", "--yes"}, drives...)...)
	lab.RunTool(p.t, "plexctl", "lun", "create", "web1", "--size", fmt.Sprintf("%dMiB", historyLength/size.MiB), "--drive", drives[0])
	lab.RunTool(p.t, "plexctl", "plex", "add", "web1", "--drive", drives[1], "--wait")
}

func (p plexctlKeeper) start(_ []string, alone bool) (said string, isStarted bool) {
	p.t.Helper()
	args := []string{"assemble"}
	if alone {
		args = append(args, "--force", "web1", "--yes")
	}
	out, _ := lab.TryTool(p.t, "plexctl", args...)
	_, err := os.Stat(p.path())
	return out, err == nil
}

func (p plexctlKeeper) stop() error {
	p.t.Helper()
	return try(p.t, "plexctl", "deactivate")
}

func (p plexctlKeeper) action() dm.Action { return mappedRaid(p.t, "plex-web1").Action }

func (p plexctlKeeper) dropped() bool { return hasDropped(mappedRaid(p.t, "plex-web1")) }

func (p plexctlKeeper) legs() []leg { return mappedLegs(p.t, "plex-web1") }

func (p plexctlKeeper) state() string {
	out, _ := lab.TryTool(p.t, "plexctl", "status")
	return out
}

// lvmKeeper is lvm2. It looks at no other devices than the drives of the history.
type lvmKeeper struct{ t *testing.T }

func (lvmKeeper) name() string { return "lvm2" }

func (lvmKeeper) path() string { return lvmMirror }

// line is the arguments of lvm for a command.
func (lvmKeeper) line(command string, args ...string) []string {
	const config = lvmHere + ` devices{filter=["a|/dev/mapper/lab-history.*|", "r|.*|"]}`
	return append([]string{command, "--config", config}, args...)
}

func (l lvmKeeper) create(drives []string) {
	l.t.Helper()
	l.forget()
	lab.RunTool(l.t, "lvm", l.line("vgcreate", append([]string{lvmGroup}, drives...)...)...)
	length := fmt.Sprintf("%db", historyLength)
	lab.RunTool(l.t, "lvm", l.line("lvcreate", "--yes", "--type", "raid1", "-m1", "-L", length, "-n", "web1", lvmGroup)...)
}

// forget removes what lvm2 remembers outside the drives.
func (l lvmKeeper) forget() {
	for _, dir := range []string{"/etc/lvm", "/run/lvm", "/dev/" + lvmGroup} {
		lab.Must(l.t, os.RemoveAll(dir))
	}
}

func (l lvmKeeper) start([]string, bool) (said string, isStarted bool) {
	l.t.Helper()
	out, _ := lab.TryTool(l.t, "lvm", l.line("vgchange", "-ay", lvmGroup)...)
	_, err := os.Stat(l.path())
	return out, err == nil
}

func (l lvmKeeper) stop() error {
	l.t.Helper()
	err := try(l.t, "lvm", l.line("vgchange", "-an", lvmGroup)...)
	l.forget() // as the machine does that boots
	return err
}

func (l lvmKeeper) action() dm.Action { return mappedRaid(l.t, lvmGroup+"-web1").Action }

func (l lvmKeeper) dropped() bool { return hasDropped(mappedRaid(l.t, lvmGroup+"-web1")) }

func (l lvmKeeper) legs() []leg { return mappedLegs(l.t, lvmGroup+"-web1") }

func (l lvmKeeper) state() string {
	out, _ := lab.TryTool(l.t, "lvm", l.line("lvs", "-a", "--noheadings", "-o", "name,attr,copy_percent,raid_sync_action,health_status,devices", lvmGroup)...)
	return out
}

// mdadmKeeper is mdadm, with metadata 1.2 and an internal bitmap.
type mdadmKeeper struct{ t *testing.T }

func (mdadmKeeper) name() string { return "mdadm" }

func (mdadmKeeper) path() string { return "/dev/md0" }

const mdadmConfig = "/run/mdadm-history.conf"

func (m mdadmKeeper) create(drives []string) {
	m.t.Helper()
	lab.RunTool(m.t, "mdadm", append([]string{
		"--create", "/dev/md0", "--run", "--level=1", "--metadata=1.2", "--bitmap=internal",
		fmt.Sprintf("--size=%d", historyLength/size.KiB), "--raid-devices=2",
	}, drives...)...)
	_, id, _ := strings.Cut(lab.RunTool(m.t, "mdadm", "--detail", "--brief", "/dev/md0"), "UUID=")
	config := fmt.Sprintf("DEVICE /dev/mapper/lab-history*\nARRAY /dev/md0 UUID=%s\n", strings.Fields(id)[0])
	lab.Must(m.t, os.WriteFile(mdadmConfig, []byte(config), 0o600))
}

// start does what a boot does. With one leg alone, systemd says --run after half a minute (mdadm-last-resort@.timer).
func (m mdadmKeeper) start(_ []string, alone bool) (said string, isStarted bool) {
	m.t.Helper()
	out, _ := lab.TryTool(m.t, "mdadm", "--assemble", "--scan", "--config="+mdadmConfig)
	if !m.active() && alone {
		more, _ := lab.TryTool(m.t, "mdadm", "--run", "/dev/md0")
		out += more
	}
	return out, m.active()
}

// active reports whether the array runs.
func (m mdadmKeeper) active() bool {
	state, err := os.ReadFile("/sys/block/md0/md/array_state")
	return err == nil && !strings.HasPrefix(string(state), "clear") && !strings.HasPrefix(string(state), "inactive")
}

func (m mdadmKeeper) stop() error {
	m.t.Helper()
	if len(lab.Glob(m.t, "/sys/block/md0/md")) == 0 {
		return nil
	}
	return try(m.t, "mdadm", "--stop", "/dev/md0")
}

func (m mdadmKeeper) action() dm.Action {
	return dm.Action(readValue(m.t, "/sys/block/md0/md/sync_action"))
}

func (m mdadmKeeper) dropped() bool { return readValue(m.t, "/sys/block/md0/md/degraded") != "0" }

func (m mdadmKeeper) legs() []leg {
	m.t.Helper()
	var legs []leg
	for i := range 2 {
		dir := fmt.Sprintf("/sys/block/md0/md/rd%d", i)
		block, err := filepath.EvalSymlinks(dir + "/block")
		if err != nil {
			legs = append(legs, leg{})
			continue
		}
		start, err := strconv.ParseInt(readValue(m.t, dir+"/offset"), 10, 64)
		lab.Must(m.t, err)
		legs = append(legs, leg{"/dev/" + filepath.Base(block), size.Sectors(start).Bytes()})
	}
	return legs
}

func (m mdadmKeeper) state() string {
	text, err := os.ReadFile("/proc/mdstat")
	lab.Must(m.t, err)
	return string(text)
}

// try runs a command, whose error says what it printed.
func try(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := lab.TryTool(t, name, args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// mappedRaid is the kernel's status of a mirror of device-mapper; one of a linear device is idle.
func mappedRaid(t *testing.T, name string) dm.RaidStatus {
	t.Helper()
	fields := strings.SplitN(strings.TrimSpace(lab.RunTool(t, "dmsetup", "status", name)), " ", 4) // start, length, type
	if len(fields) < 4 || fields[2] != "raid" {
		return dm.RaidStatus{Action: dm.ActionIdle}
	}
	status, err := dm.ParseRaidStatus(fields[3])
	lab.Must(t, err)
	return status
}

// hasDropped reports whether a leg has failed.
func hasDropped(status dm.RaidStatus) bool {
	for _, h := range status.Health {
		if h == dm.LegFailed {
			return true
		}
	}
	return false
}

// mappedLegs is the legs of a mirror of device-mapper. In its table, after the parameters, come the number of legs and then two
// devices for each: for metadata and for data, "-" when it is missing.
func mappedLegs(t *testing.T, name string) []leg {
	t.Helper()
	fields := strings.Fields(lab.RunTool(t, "dmsetup", "table", name)) // start, length, raid, raid1, number of parameters
	if len(fields) < 5 || fields[2] != "raid" {
		return nil
	}
	parameters, err := strconv.Atoi(fields[4])
	lab.Must(t, err)
	var legs []leg
	for i := 7 + parameters; i < len(fields); i += 2 {
		device, err := filepath.EvalSymlinks("/sys/dev/block/" + fields[i])
		if err != nil {
			legs = append(legs, leg{})
			continue
		}
		legs = append(legs, leg{device: "/dev/" + filepath.Base(device)})
	}
	return legs
}
