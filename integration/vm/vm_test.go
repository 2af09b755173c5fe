package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// TestMain makes this binary the first process of the guests that the tests boot. What a guest runs is one of scenarios.
func TestMain(m *testing.M) {
	Init()
	if InGuest() {
		os.Exit(scenario(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// scenario is what a guest does, and the exit status it ends with.
func scenario(args []string) int {
	switch args[0] {
	case "exit 0":
		fmt.Println("hello from", os.Getenv("GREETING"))
		return 0
	case "exit 3":
		return 3
	case "panic":
		panic("as asked for")
	case "kernel panic":
		return sysrq("c")
	case "reset":
		return sysrq("b")
	case "off":
		fmt.Print(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
		return 1
	case "forged verdict":
		fmt.Print(verdictExit(0))
		return sysrq("b")
	case "hang":
		time.Sleep(time.Hour)
	case "cut":
		fmt.Println("about to cut")
		Cut()
	case "print":
		fmt.Println("ready to be cut")
		time.Sleep(time.Hour)
	case "print twice":
		fmt.Println("soon to be cut")
		time.Sleep(100 * time.Millisecond)
		fmt.Println("not yet")
		time.Sleep(time.Hour)
	case "no line feed":
		fmt.Print("the end")
		return 4
	case "write":
		return writeBlocks(args[1])
	}
	return 99
}

// sysrq asks the kernel for something that ends the machine.
func sysrq(command string) int {
	fmt.Println(os.WriteFile("/proc/sysrq-trigger", []byte(command), 0))
	return 1
}

// newMachine is a machine on the smallest kernel, whose console goes to the test's log when it fails.
func newMachine(t *testing.T) (*Machine, *bytes.Buffer) {
	t.Helper()
	t.Parallel()
	kernel, err := FindKernel(t.Context(), "6.1")
	if err != nil {
		t.Fatal(err)
	}
	var console, output bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output:\n%s\nconsole:\n%s", &output, &console)
		}
	})
	return &Machine{Kernel: kernel, Output: &output, Console: &console, Memory: 512 * size.MiB}, &output
}

// bounded is a context that gives a machine two minutes.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

//gate:when harness
func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name     string
		env      []string
		cutOn    string
		cutAfter time.Duration
		want     error
		output   string
		says     string // part of the error's text
	}{
		{name: "exit 0", env: []string{"GREETING=earth"}, cutOn: "hello", cutAfter: time.Hour, output: "hello from earth\n"},
		{name: "exit 3", want: ExitError{Code: 3}},
		{name: "no line feed", want: ExitError{Code: 4}, output: "the end"},
		{name: "no such scenario", want: ExitError{Code: 99}},
		{name: "panic", want: ExitError{Code: 2}, output: "panic: as asked for"},
		{name: "kernel panic", want: ErrNoVerdict, says: "sysrq triggered crash"},
		{name: "reset", want: ErrNoVerdict},
		{name: "off", want: ErrNoVerdict, says: "Power down"},
		{name: "forged verdict", want: ErrNoVerdict, output: "exit 0\n"},
		{name: "cut", want: ErrCut, output: "about to cut\n"},
		{name: "print", cutOn: "to be cut", want: ErrCut, output: "ready to be cut\n"},
		{name: "print twice", cutOn: "to be cut", cutAfter: 2 * time.Second, want: ErrCut, output: "soon to be cut\nnot yet\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			machine, output := newMachine(t)
			machine.Env, machine.CutOn, machine.CutAfter = tt.env, tt.cutOn, tt.cutAfter
			err := machine.Run(bounded(t), initFile, tt.name)
			if !errors.Is(err, tt.want) {
				t.Errorf("Run = %v, want %v", err, tt.want)
			}
			if !strings.HasPrefix(output.String(), tt.output) {
				t.Errorf("output %q, want %q", output, tt.output)
			}
			if tt.says != "" && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Run = %v, want an error with %q", err, tt.says)
			}
		})
	}
}

//gate:when harness
func TestHungGuestShowsBlockedTasks(t *testing.T) {
	machine, _ := newMachine(t)
	var console bytes.Buffer
	machine.Console = &console
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	start := time.Now()
	err := machine.Run(ctx, initFile, "hang")
	if !errors.Is(err, ErrHung) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want %v", err, ErrHung)
	}
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("ended after %v", took)
	}
	if !strings.Contains(console.String(), "Show Blocked State") {
		t.Errorf("no blocked tasks on the console:\n%s", &console)
	}
}

//gate:when harness
func TestCancelledRunEnds(t *testing.T) {
	machine, _ := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(5*time.Second, cancel)
	if err := machine.Run(ctx, initFile, "hang"); !errors.Is(err, ErrHung) || !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v and %v", err, ErrHung, context.Canceled)
	}
}

//gate:when harness
func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(m *Machine)
		want  string
	}{
		{"tool that is not there", func(m *Machine) { m.Tools = []string{"plexless"} }, "copy tool plexless"},
		{"file that is not there", func(m *Machine) { m.Files = map[string]string{"/a": "/plexless"} }, "/plexless: no such file"},
		{"module that is not there", func(m *Machine) { m.Modules = []string{"plexless"} }, "no module plexless"},
		{"disk that is not there", func(m *Machine) { m.Disks = []Disk{{Path: "/plexless"}} }, "plexless"},
		{"init that is not there", func(m *Machine) { m.Init = "/plexless" }, "/plexless: no such file"},
		{"kernel that is not there", func(m *Machine) { m.Kernel.Modules = "/plexless" }, "/plexless"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			machine, _ := newMachine(t)
			tt.spoil(machine)
			err := machine.Run(bounded(t), initFile, "exit 0")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want an error with %q", err, tt.want)
			}
		})
	}
	t.Run("command that is not there", func(t *testing.T) {
		machine, _ := newMachine(t)
		if err := machine.Run(bounded(t), "plexless"); !errors.Is(err, ExitError{Code: 127}) {
			t.Errorf("Run = %v, want exit status 127", err)
		}
	})
}

//gate:when harness
func TestUdev(t *testing.T) {
	machine, output := newMachine(t)
	machine.Udev, machine.Tools = true, []string{"busybox"}
	machine.Disks = []Disk{newDisk(t, "udev-disk", false)}
	const script = "dmsetup create plexlab --table '0 8 zero' && readlink /dev/mapper/plexlab && readlink /dev/disk/by-id/virtio-udev-disk"
	if err := machine.Run(bounded(t), "sh", "-c", script); err != nil {
		t.Error(err)
	}
	if want := "../dm-0\n../../vda\n"; output.String() != want {
		t.Errorf("links %q, want %q", output, want)
	}
}

// newDisk makes a blank disk.
func newDisk(t *testing.T, serial string, volatile bool) Disk {
	t.Helper()
	disk := Disk{Path: filepath.Join(t.TempDir(), serial), Serial: serial, Block: 4096, Volatile: volatile}
	if err := CreateImage(disk.Path, diskSize); err != nil {
		t.Fatal(err)
	}
	return disk
}

const (
	diskSize  = 2 * size.MiB
	blockSize = 4096
	// flushedBlocks are written and flushed; as many after them are written only.
	flushedBlocks = 100
)

// writeBlocks is the scenario that ends with a power cut while half of the blocks it wrote are in the disk's cache.
func writeBlocks(serial string) int {
	path, err := DiskPath(serial)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := unix.Mmap(-1, 0, blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for n := range int64(2 * flushedBlocks) {
		p[0] = byte(n + 1)
		if _, err := f.WriteAt(p, n*blockSize); err != nil {
			fmt.Println(err)
			return 1
		}
		if n == flushedBlocks-1 && f.Sync() != nil {
			return 1
		}
	}
	Cut()
	return 1
}

//gate:when harness
func TestPowerCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		volatile bool
	}{
		{"completed writes stay", false},
		{"unflushed writes go", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			machine, _ := newMachine(t)
			disk := newDisk(t, "cut", tt.volatile)
			machine.Disks = []Disk{disk}
			if err := machine.Run(bounded(t), initFile, "write", disk.Serial); !errors.Is(err, ErrCut) {
				t.Fatalf("Run = %v, want %v", err, ErrCut)
			}
			flushed, unflushed := countBlocks(t, disk.Path)
			if flushed != flushedBlocks {
				t.Errorf("%d of %d flushed blocks are there", flushed, flushedBlocks)
			}
			if lost := flushedBlocks - unflushed; (lost > 0) != tt.volatile || unflushed == 0 {
				t.Errorf("%d of %d blocks that were not flushed are lost", lost, flushedBlocks)
			}
		})
	}
}

// countBlocks counts the blocks of the scenario that are on the disk, by whether they were flushed.
func countBlocks(t *testing.T, image string) (flushed, unflushed int) {
	t.Helper()
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 * flushedBlocks {
		switch {
		case content[n*blockSize] != byte(n+1):
		case n < flushedBlocks:
			flushed++
		default:
			unflushed++
		}
	}
	return flushed, unflushed
}

//gate:when harness
func TestVolatileDiskKeepsAllInOrderlyEnd(t *testing.T) {
	machine, _ := newMachine(t)
	machine.Tools = []string{"busybox"}
	disk := newDisk(t, "orderly", true)
	machine.Disks = []Disk{disk}
	if err := machine.Run(bounded(t), "sh", "-c", "echo kept > /dev/vda"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(disk.Path)
	if err != nil || !bytes.HasPrefix(content, []byte("kept\n")) {
		t.Errorf("disk begins with %q, %v", content[:8], err)
	}
}
