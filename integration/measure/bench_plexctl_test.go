package measure

import (
	"os"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// contender is a program, with settings, that mirrors a volume in use.
type contender interface {
	// name is that of the program and its settings.
	name() string
	// create makes a volume on the first drive, and prepares the second one. Both are blank.
	create(length size.Bytes)
	// path is the node of the volume.
	path() string
	// suspends is the kernel's functions that stop the volume and let it go on, and the name of its device-mapper device.
	suspends() suspends
	// attach runs the command that makes the second drive the other leg.
	attach()
	// progress is how much of the mirror is filled, 1 when all of it is.
	progress() float64
	// settle runs the command, if there is one, after which the program itself knows that the mirror is filled.
	settle()
	// takeBack runs the commands that take a leg back whose drive works again.
	takeBack()
	// remove takes down all devices; what is on the drives may stay.
	remove()
}

// limits are the kernel's own limits of a resync, in KiB a second and leg, which plexctl, lvm2 and mdadm go by.
type limits struct{ lowest, highest string }

var (
	usualLimits  = limits{"1000", "200000"}
	raisedLimits = limits{"2000000", "2000000"}
)

// set puts the limits in force.
func (b *bench) set(l limits) {
	b.t.Helper()
	lab.Must(b.t, os.WriteFile("/proc/sys/dev/raid/speed_limit_max", []byte(l.highest), 0))
	lab.Must(b.t, os.WriteFile("/proc/sys/dev/raid/speed_limit_min", []byte(l.lowest), 0))
}

// plexctlContender is plexctl.
type plexctlContender struct {
	*bench
	label   string
	limits  limits
	tracked bool
}

func (b *bench) plexctl() contender { return &plexctlContender{b, "plexctl", usualLimits, false} }

func (b *bench) plexctlRaised() contender {
	return &plexctlContender{b, "plexctl tuned", raisedLimits, false}
}

// plexctlTracked is plexctl with a LUN that remembers what was written to it: none where plexctl has no such LUNs.
func (b *bench) plexctlTracked() []contender {
	b.t.Helper()
	if !strings.Contains(lab.RunTool(b.t, "plexctl", "lun", "create", "--help"), "--track") {
		b.tell(figure{Figure: "left out", Subject: "plexctl tracked", Text: "this plexctl has no lun create --track"})
		return nil
	}
	return []contender{&plexctlContender{b, "plexctl tracked", usualLimits, true}}
}

func (p *plexctlContender) name() string { return p.label }

func (p *plexctlContender) path() string { return "/dev/mapper/plex-web1" }

func (p *plexctlContender) suspends() suspends { return mapperSuspends("plex-web1") }

func (p *plexctlContender) create(length size.Bytes) {
	p.t.Helper()
	p.set(p.limits)
	p.run("drive", "init", p.drives[0], p.drives[1], "--yes", "--force")
	bytes := strconv.FormatUint(uint64(length), 10) + "B"
	web := []string{"lun", "create", "web1", "--size", bytes, "--drive", p.drives[0]}
	if p.tracked {
		web = append(web, "--track")
	}
	p.run(web...)
	p.run("lun", "create", "spare3", "--size", bytes, "--drive", p.drives[1])
}

func (p *plexctlContender) attach() {
	p.t.Helper()
	p.run("plex", "add", "web1", "spare3", "--yes")
}

func (p *plexctlContender) progress() float64 { return p.raidProgress("plex-web1") }

// settle has the end of the operation recorded, as whoever looks next does.
func (p *plexctlContender) settle() {
	p.t.Helper()
	p.run("op", "wait", "web1")
}

func (p *plexctlContender) takeBack() {
	p.t.Helper()
	p.run("lun", "recover", "web1")
}

func (p *plexctlContender) remove() {
	p.t.Helper()
	p.run("deactivate")
}

func (p *plexctlContender) run(args ...string) {
	p.t.Helper()
	lab.RunTool(p.t, "plexctl", args...)
}
