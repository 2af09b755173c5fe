// The command behind scripts/vm.sh: it boots a machine of package vm and runs a command, or a shell, in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// exitNoVerdict is the exit status when the machine, not the command, is what went wrong.
const exitNoVerdict = 125

func main() {
	vm.Init()
	err := run()
	exit, ended := errors.AsType[vm.ExitError](err)
	switch {
	case ended:
		os.Exit(exit.Code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(exitNoVerdict)
	}
}

// options are the flags of the command.
type options struct {
	kernel  string
	udev    bool
	disks   list
	tools   list
	files   list
	timeout time.Duration
	command []string
}

// list is a flag that may be given several times.
type list []string

// String is the values with commas between.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds a value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// parse reads the command line.
func parse() options {
	var o options
	flag.StringVar(&o.kernel, "kernel", "6.12", "kernel `series`: 5.10, 6.1, 6.12, newest")
	flag.BoolVar(&o.udev, "udev", false, "run udevd in the machine")
	flag.Var(&o.disks, "disk", "`size` of a blank disk; may be given several times (default three of 256MiB)")
	flag.Var(&o.tools, "tool", "`command` of this host to copy as well; may be given several times")
	flag.Var(&o.files, "file", "`guest=host`: file or folder of this host to copy; may be given several times")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "end the machine after this `time`; not for a shell")
	flag.Parse()
	if len(o.disks) == 0 {
		o.disks = list{"256MiB", "256MiB", "256MiB"}
	}
	o.command = flag.Args()
	return o
}

// run boots the machine that the command line asks for.
func run() error {
	o := parse()
	dir, err := os.MkdirTemp("", "plexctl-disks-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	machine, err := o.machine(ctx, dir)
	if err != nil {
		return err
	}
	if len(o.command) == 0 {
		machine.Terminal = true
		machine.Env = append(machine.Env, "TERM="+os.Getenv("TERM"), "PS1=\\w # ")
		o.command, o.timeout = []string{"bash", "--norc", "-i"}, 24*time.Hour
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return machine.Run(ctx, o.command...)
}

// machine is the machine to boot; its disks are in dir.
func (o options) machine(ctx context.Context, dir string) (vm.Machine, error) {
	machine := vm.Machine{Tools: append(tools(), o.tools...), Files: map[string]string{}, Udev: o.udev, Output: os.Stdout}
	var err error
	if machine.Kernel, err = vm.FindKernel(ctx, o.kernel); err != nil {
		return machine, err
	}
	for _, file := range o.files {
		guest, host, ok := strings.Cut(file, "=")
		if !ok {
			return machine, fmt.Errorf("file %q: want guest=host", file)
		}
		machine.Files[guest] = host
	}
	machine.Disks, err = blankDisks(dir, o.disks)
	return machine, err
}

// tools are the commands that people and scripts expect; busybox stands in for all others.
func tools() []string {
	return []string{
		"bash", "busybox", "dmsetup", "losetup", "lsblk", "blockdev", "wipefs", "mkfs.ext4", "e2fsck", "dumpe2fs", "mount", "umount",
		"dd", "truncate", "cmp", "sha256sum", "awk", "grep", "sed", "date", "timeout", "sleep", "stat", "od",
	}
}

// blankDisks makes disks of the given sizes in dir.
func blankDisks(dir string, sizes []string) ([]vm.Disk, error) {
	var disks []vm.Disk
	for i, text := range sizes {
		length, err := size.Parse(text)
		if err != nil {
			return nil, err
		}
		disk := vm.Disk{Path: filepath.Join(dir, fmt.Sprintf("disk%d", i)), Serial: fmt.Sprintf("disk%d", i)}
		if err := vm.CreateImage(disk.Path, length); err != nil {
			return nil, err
		}
		disks = append(disks, disk)
	}
	return disks, nil
}
