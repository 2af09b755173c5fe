//go:build linux

package blockdev

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/devno"
)

// Users says who uses a device or a partition of it: mounts of this mount namespace, swap, stacked devices, partitions. Only
// if there are none, it looks for other processes that have the device open, as far as this process may see them.
// ErrNotExist means that there is no such device.
func (h Host) Users(ctx context.Context, dev devno.No) ([]User, error) {
	n, err := h.nodeOf(dev)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	nodes := n.withParts()
	devs := devNos(nodes)
	users := append(h.mounts(devs), h.swaps(devs)...)
	for _, holder := range append(n.holders(), h.loops(devs)...) {
		users = append(users, User{Kind: "holder", Name: holder.label()})
	}
	for _, part := range nodes[1:] {
		users = append(users, User{Kind: "partition", Name: part.name})
	}
	if len(users) == 0 {
		users, err = h.processes(ctx, devs)
	}
	return unique(users), err
}

func unique(users []User) []User {
	seen := map[User]bool{}
	return slices.DeleteFunc(users, func(u User) bool {
		known := seen[u]
		seen[u] = true
		return known
	})
}

// mounts is the mount points of devs. In a line of mountinfo the third field is the device's number and the fifth the mount
// point. A btrfs has a number of its own there; its device is in the second field after the dash, the source.
func (h Host) mounts(devs []devno.No) []User {
	var users []User
	for _, fields := range h.table("self/mountinfo") {
		dash := slices.Index(fields, "-")
		if dash < 6 {
			continue
		}
		dev, _ := devno.Parse(fields[2]) // zero, and so no device, when it is no number
		if slices.Contains(devs, dev) || dash+2 < len(fields) && h.isOneOf(unescape(fields[dash+2]), devs) {
			users = append(users, User{Kind: "mount", Name: unescape(fields[4])})
		}
	}
	return users
}

// swaps is those of devs that are swapped on. The first field of a line is the path.
func (h Host) swaps(devs []devno.No) []User {
	var users []User
	for _, fields := range h.table("swaps") {
		if path := unescape(fields[0]); h.isOneOf(path, devs) {
			users = append(users, User{Kind: "swap", Name: path})
		}
	}
	return users
}

// loops is the loop devices on one of devs. They make no claim, so they are not among the holders.
func (h Host) loops(devs []devno.No) []node {
	var loops []node
	for _, name := range entries(h.sys("class/block")) {
		n := h.node(name)
		if strings.HasPrefix(name, "loop") && h.isOneOf(n.text("loop/backing_file"), devs) {
			loops = append(loops, n)
		}
	}
	return loops
}

// isOneOf reports whether a path that the kernel shows leads to one of devs. It looks the kernel's own names up in sysfs, and
// stats other nodes below /dev. A path elsewhere belongs to no device, and to look at it could block.
func (h Host) isOneOf(path string, devs []devno.No) bool {
	name, ok := strings.CutPrefix(path, h.dev(""))
	if !ok {
		return false
	}
	dev, err := h.node(strings.ReplaceAll(name, "/", "!")).devNo()
	if err != nil {
		dev, err = nodeDevice(path)
	}
	return err == nil && slices.Contains(devs, dev)
}

// processes is who has one of devs open, once for each process.
func (h Host) processes(ctx context.Context, devs []devno.No) ([]User, error) {
	var users []User
	for _, pid := range entries(h.proc("")) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("users: look at processes: %w", err)
		}
		number, err := strconv.Atoi(pid)
		if err == nil && number != os.Getpid() && h.opens(pid, devs) {
			users = append(users, User{Kind: "process", Name: readLine(h.proc(pid+"/comm")) + "[" + pid + "]"})
		}
	}
	return users, nil
}

// opens reports whether a process has one of devs open.
func (h Host) opens(pid string, devs []devno.No) bool {
	dir := h.proc(pid + "/fd")
	return slices.ContainsFunc(entries(dir), func(fd string) bool {
		path, err := os.Readlink(dir + "/" + fd)
		return err == nil && h.isOneOf(path, devs)
	})
}

// table is the lines of a file in procfs, split at blanks. A file that cannot be read has none.
func (h Host) table(file string) [][]string {
	text, _ := os.ReadFile(h.proc(file))
	var lines [][]string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, fields)
		}
	}
	return lines
}

// unescape undoes the octal escapes of procfs: "\040" is a blank.
func unescape(text string) string {
	const digits = 3
	parts := strings.Split(text, `\`)
	for i, part := range parts[1:] {
		c, err := strconv.ParseUint(part[:min(digits, len(part))], 8, 8)
		if err != nil || len(part) < digits {
			parts[i+1] = `\` + part
		} else {
			parts[i+1] = string([]byte{byte(c)}) + part[digits:]
		}
	}
	return strings.Join(parts, "")
}
