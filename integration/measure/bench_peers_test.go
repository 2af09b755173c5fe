package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// Settings of lvm2. There is no udevd in the guest to wait for, and no dmeventd: that holds for both.
const (
	lvmHere     = "activation{udev_sync=0 udev_rules=0 monitoring=0}"
	lvmDefaults = lvmHere
	lvmBest     = lvmHere + " backup{backup=0 archive=0} global{use_lvmpolld=0}" +
		" devices{obtain_device_list_from_udev=0 multipath_component_detection=0 md_component_detection=0}"
)

// lvmContender is lvm2.
type lvmContender struct {
	*bench
	label   string
	limits  limits
	config  string
	devices bool // it is told which devices are its own, in place of looking at all
}

func (b *bench) lvmTuned() contender {
	return &lvmContender{b, "lvm2 tuned", raisedLimits, lvmBest, true}
}

func (b *bench) lvmUsual() contender {
	return &lvmContender{b, "lvm2", usualLimits, lvmDefaults, false}
}

func (l *lvmContender) name() string { return l.label }

func (l *lvmContender) path() string { return lvmMirror }

func (l *lvmContender) suspends() suspends { return mapperSuspends(lvmGroup + "-web1") }

// line is the arguments of lvm for a command.
func (l *lvmContender) line(args ...string) []string {
	line := []string{args[0], "--config", l.config}
	if l.devices {
		line = append(line, "--devices", strings.Join(l.drives[:], ","))
	}
	return append(line, args[1:]...)
}

func (l *lvmContender) run(args ...string) string {
	l.t.Helper()
	return lab.RunTool(l.t, "lvm", l.line(args...)...)
}

func (l *lvmContender) create(length size.Bytes) {
	l.t.Helper()
	l.set(l.limits)
	l.run("vgcreate", lvmGroup, l.drives[0], l.drives[1])
	l.run("lvcreate", "--yes", "-L", fmt.Sprintf("%db", length), "-n", "web1", lvmGroup, l.drives[0])
}

func (l *lvmContender) attach() {
	l.t.Helper()
	l.run("lvconvert", "--yes", "--type", "raid1", "-m1", lvmGroup+"/web1", l.drives[1])
}

func (l *lvmContender) progress() float64 { return l.raidProgress(lvmGroup + "-web1") }

func (l *lvmContender) settle() {}

func (l *lvmContender) takeBack() {
	l.t.Helper()
	l.run("lvchange", "--refresh", lvmGroup+"/web1")
}

func (l *lvmContender) remove() {
	l.t.Helper()
	l.run("vgchange", "-an", lvmGroup)
	lab.Must(l.t, os.RemoveAll("/etc/lvm")) // copies of metadata, which name drives that are blank from now on
	lab.Must(l.t, os.RemoveAll("/dev/"+lvmGroup))
}

// mdadmContender is mdadm: an array of two legs, the second of which is missing.
type mdadmContender struct {
	*bench
	label  string
	limits limits
	bitmap []string // options of a new array
}

func (b *bench) mdadmUsual() contender { return &mdadmContender{b, "mdadm", usualLimits, nil} }

func (b *bench) mdadmTuned() contender {
	return &mdadmContender{b, "mdadm tuned", raisedLimits, []string{"--bitmap=internal", "--bitmap-chunk=2M"}}
}

func (m *mdadmContender) name() string { return m.label }

func (m *mdadmContender) path() string { return "/dev/md0" }

func (m *mdadmContender) suspends() suspends { return arraySuspends() }

func (m *mdadmContender) create(length size.Bytes) {
	m.t.Helper()
	m.set(m.limits)
	args := []string{"--create", "/dev/md0", "--run", "--level=1", "--raid-devices=2", fmt.Sprintf("--size=%d", length/size.KiB)}
	lab.RunTool(m.t, "mdadm", append(append(args, m.bitmap...), m.drives[0], "missing")...)
}

func (m *mdadmContender) attach() {
	m.t.Helper()
	lab.RunTool(m.t, "mdadm", "/dev/md0", "--add", m.drives[1])
}

func (m *mdadmContender) progress() float64 {
	m.t.Helper()
	if m.attribute("degraded") == "0" && m.attribute("sync_action") == "idle" {
		return 1
	}
	done, total, found := strings.Cut(m.attribute("sync_completed"), " / ")
	if !found {
		return 0 // "none"
	}
	d, err := strconv.ParseFloat(done, 64)
	lab.Must(m.t, err)
	all, err := strconv.ParseFloat(total, 64)
	lab.Must(m.t, err)
	return min(d/all, 0.999)
}

// attribute is a value in sysfs, by one read: with two a value that grows longer in between comes out torn.
func (m *mdadmContender) attribute(name string) string {
	m.t.Helper()
	file, err := os.Open("/sys/block/md0/md/" + name)
	lab.Must(m.t, err)
	defer file.Close()
	text := make([]byte, 4096)
	n, err := file.Read(text)
	lab.Must(m.t, err)
	return strings.TrimSpace(string(text[:n]))
}

func (m *mdadmContender) settle() {}

// takeBack uses what the bitmap says. Without one there is nothing to go by, and all is copied.
func (m *mdadmContender) takeBack() {
	m.t.Helper()
	lab.RunTool(m.t, "mdadm", "/dev/md0", "--remove", "faulty")
	if m.bitmap == nil {
		lab.RunTool(m.t, "mdadm", "/dev/md0", "--add", m.drives[1])
		return
	}
	lab.RunTool(m.t, "mdadm", "/dev/md0", "--re-add", m.drives[1])
}

func (m *mdadmContender) remove() {
	m.t.Helper()
	lab.RunTool(m.t, "mdadm", "--stop", "/dev/md0")
}
