//go:build linux

package blockdev

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/eintr"
	"github.com/plexctl/plexctl/size"
)

// Majors of devices that are no disks (Documentation/admin-guide/devices.txt).
const (
	majorFloppy = 2
	majorCD     = 11
)

// node is one block device in sysfs: its attributes are read when they are asked for.
type node struct {
	host Host
	name string // of the kernel, as sysfs writes it: '!' for '/'
	dir  string
}

func (h Host) node(name string) node {
	return node{host: h, name: name, dir: h.sys("class/block/" + name)}
}

// path is the node that the kernel's own name leads to.
func (n node) path() string { return n.host.dev(strings.ReplaceAll(n.name, "!", "/")) }

// mapperFolder is where device-mapper has its names, below /dev.
const mapperFolder = "mapper/"

// known is the node that people know the device by: of device-mapper that of its name, if it leads there. Otherwise it is path.
func (n node) known(dev devno.No) string {
	if !n.mapped() {
		return n.path()
	}
	named := n.host.dev(mapperFolder + n.text("dm/name"))
	if there, err := nodeDevice(named); err != nil || there != dev {
		return n.path()
	}
	return named
}

// text is an attribute, "" where the device has none.
func (n node) text(attribute string) string { return readLine(n.dir + "/" + attribute) }

// number is an attribute, 0 where the device has none.
func (n node) number(attribute string) uint64 {
	value, err := strconv.ParseUint(n.text(attribute), 10, 63)
	if err != nil {
		return 0
	}
	return value
}

// devNo is the device's number. It fails when the device is gone.
func (n node) devNo() (devno.No, error) {
	dev, err := devno.Parse(n.text("dev"))
	if err != nil {
		return devno.No{}, fmt.Errorf("device %s: %w", n.name, ErrNotExist)
	}
	return dev, nil
}

// usable reports whether Scan shows the device.
func (n node) usable(i Info) bool {
	switch {
	case i.Size == 0, i.Dev.Major == majorFloppy, i.Dev.Major == majorCD:
		return false
	case n.mapped():
		return true
	}
	return n.number("hidden") != 1
}

// mapped reports whether the device is one of device-mapper. There may be thousands of these, and they have no partitions
// and no hardware to ask for.
func (n node) mapped() bool { return strings.HasPrefix(n.name, "dm-") }

// readOnly reports whether the kernel refuses writes to the device.
func (n node) readOnly() bool { return n.number("ro") == 1 }

// partition reports whether the device is part of another.
func (n node) partition() bool { return !n.mapped() && n.text("partition") != "" }

// disk is the device itself, or for a partition the whole disk: queue and identity belong to that. The kernel puts the
// folder of a partition into that of its disk.
func (n node) disk() node {
	if !n.partition() {
		return n
	}
	target, err := os.Readlink(n.dir)
	if err != nil {
		return n
	}
	return n.host.node(filepath.Base(filepath.Dir(target)))
}

// partitions is the partitions of a disk, in order of name.
func (n node) partitions() []node {
	if n.mapped() {
		return nil
	}
	var parts []node
	for _, name := range entries(n.dir) {
		if part := n.host.node(name); strings.HasPrefix(name, n.name) && part.partition() {
			parts = append(parts, part)
		}
	}
	return parts
}

// withParts is the device and its partitions.
func (n node) withParts() []node { return append([]node{n}, n.partitions()...) }

// related is the devices that a folder of the device has links to.
func (n node) related(folder string) []node {
	var nodes []node
	for _, name := range entries(n.dir + "/" + folder) {
		nodes = append(nodes, n.host.node(name))
	}
	return nodes
}

// holders is the devices stacked on this one or on a partition of it.
func (n node) holders() []node {
	var holders []node
	for _, part := range n.withParts() {
		holders = append(holders, part.related("holders")...)
	}
	return holders
}

// info reads everything about the device.
func (n node) info() (Info, error) {
	dev, err := n.devNo()
	if err != nil {
		return Info{}, err
	}
	return n.infoOf(dev), nil
}

// infoOf is info of a device whose number is known. If the device is gone, the number is all that infoOf has.
func (n node) infoOf(dev devno.No) Info {
	disk := n.disk()
	zoned, integrity := disk.text("queue/zoned"), disk.text("integrity/format")
	info := Info{
		Path:          n.known(dev),
		Dev:           dev,
		Size:          size.Sectors(n.number("size")).Bytes(),
		LogicalBlock:  size.Bytes(disk.number("queue/logical_block_size")),
		PhysicalBlock: size.Bytes(disk.number("queue/physical_block_size")),
		ReadOnly:      n.readOnly(),
		Zoned:         zoned != "" && zoned != "none",
		DAX:           disk.number("queue/dax") == 1,
		Integrity:     integrity != "" && integrity != "none" && integrity != "nop",
		Model:         disk.model(),
		Serial:        disk.serial(),
		Identity:      n.identity(),
		Holders:       devNos(n.holders()),
		Slaves:        devNos(n.related("slaves")),
	}
	if n.mapped() {
		info.DMUUID, info.Suspended = n.text("dm/uuid"), n.number("dm/suspended") == 1
	}
	return info
}

// model is what people know the device by.
func (n node) model() string {
	switch {
	case n.mapped():
		return n.text("dm/name")
	case strings.HasPrefix(n.name, "loop"):
		return n.text("loop/backing_file")
	}
	return n.text("device/model")
}

// serial is the serial number: NVMe's, virtio's, or that of a SCSI disk's unit serial number page, whose header is 4 bytes.
func (n node) serial() string {
	if n.mapped() || strings.HasPrefix(n.name, "loop") {
		return ""
	}
	page := readSmall(n.dir + "/device/vpd_pg80")
	return cmp.Or(n.text("serial"), n.text("device/serial"), printable(page[min(4, len(page)):]))
}

// label is the device's name for people: that of device-mapper where it has one.
func (n node) label() string {
	if n.mapped() {
		return n.text("dm/name")
	}
	return n.name
}

// devNos is the numbers of devices, each once. Thousands of device-mapper devices may hold one drive. devNos asks one of
// them; the others have the same major number, and the minor that is in their names (drivers/md/dm.c, alloc_dev).
func devNos(nodes []node) []devno.No {
	var devs []devno.No
	var mapper devno.No
	seen := map[devno.No]bool{}
	for _, n := range nodes {
		dev, err := n.devNoBeside(mapper)
		if err != nil {
			continue
		}
		if n.mapped() {
			mapper = dev
		}
		if !seen[dev] {
			seen[dev] = true
			devs = append(devs, dev)
		}
	}
	return devs
}

// devNoBeside is devNo, given the number of a device-mapper device if one is known. It then does not ask another one for its own.
func (n node) devNoBeside(mapper devno.No) (devno.No, error) {
	text, mapped := strings.CutPrefix(n.name, "dm-")
	minor, err := strconv.ParseUint(text, 10, 20)
	if !mapped || err != nil || mapper.IsZero() {
		return n.devNo()
	}
	return devno.No{Major: mapper.Major, Minor: uint32(minor)}, nil
}

// entries is the names in a folder, sorted, as far as it can be read.
func entries(dir string) []string {
	list, _ := os.ReadDir(dir)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names
}

// readLine is the text of a small file without space around it, "" when it cannot be read.
func readLine(path string) string { return printable(readSmall(path)) }

// printable is b as text, without the space around it and the zero bytes that some firmware pads with.
func printable(b []byte) string { return strings.Trim(string(b), " \t\r\n\x00") }

// readSmall reads a file of at most one page, as all attributes are. It takes three system calls where os.ReadFile takes six,
// which matters in a scan of thousands of devices.
func readSmall(path string) []byte {
	var fd, n int
	open := func() (err error) { fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); return err }
	if eintr.Retry(open) != nil {
		return nil
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	b := make([]byte, os.Getpagesize())
	read := func() (err error) { n, err = unix.Read(fd, b); return err }
	if eintr.Retry(read) != nil {
		return nil
	}
	return b[:n]
}
