package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// guestVar is set in the environment of the command that a guest runs.
	guestVar = "PLEXCTL_VM_GUEST"
	// outPort and verdictPort are the names of the virtio ports to the host. Each can be open once at a time.
	outPort     = "plexctl.out"
	verdictPort = "plexctl.verdict"
	// udevd is where the guest has systemd-udevd.
	udevd = "/usr/lib/systemd/systemd-udevd"
	// guestPath is where the guest has commands.
	guestPath = "/usr/local/bin:/usr/sbin:/usr/bin"
	// bootTimeout bounds every wait of the first process.
	bootTimeout = 30 * time.Second
)

// Init makes the running binary fit to be the first process of a Machine: call it before anything else. There, and when
// the guest's kernel runs it as modprobe, it does not return. Anywhere else it does nothing.
func Init() {
	switch {
	case filepath.Base(os.Args[0]) == "modprobe" && isGuest():
		os.Exit(modprobeMain(os.Args[1:]))
	case os.Getpid() == 1 && isGuest():
		if err := boot(); err != nil {
			fmt.Fprintln(os.Stderr, "vm:", err) // on the console; without a verdict the run has failed
		}
		off()
	}
}

// InGuest reports whether this process runs in a Machine.
func InGuest() bool { return os.Getenv(guestVar) != "" }

// isGuest reports whether this is the machine that the configuration was written for: a container's first process has
// the number 1 too.
func isGuest() bool {
	_, err := os.Stat(configFile)
	return err == nil
}

// Cut has the host cut the power of the guest it is called in: nothing is flushed, nothing ends in order. It does not
// return; other goroutines and processes run on for the moment that the cut takes.
func Cut() {
	err := say(verdictCut)
	if err == nil {
		time.Sleep(bootTimeout)
	}
	panic(fmt.Sprintf("cut power: still running: %v", err))
}

// DiskPath is the device of the Disk with the given serial, in the guest.
func DiskPath(serial string) (string, error) {
	files, err := filepath.Glob("/sys/block/vd*/serial")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == serial {
			return "/dev/" + filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", fmt.Errorf("disk %s: %w", serial, os.ErrNotExist)
}

// boot is the life of the first process: it prepares the machine, runs the command and says how it ended.
func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	config, err := readConfig()
	if err != nil {
		return err
	}
	if err := prepare(config); err != nil {
		return err
	}
	port, err := openPort(outPort)
	if err != nil {
		return err
	}
	code, err := supervise(config, port)
	if err != nil {
		return err
	}
	syncDisks()
	return say(verdictExit(code))
}

// prepare makes the mounted system one that a command can work in.
func prepare(config guestConfig) error {
	for _, line := range config.Load {
		if err := loadLine(config.Modules, line); err != nil {
			return err
		}
	}
	if err := os.Setenv("PATH", guestPath); err != nil {
		return err
	}
	if config.Udev {
		return startUdev()
	}
	return nil
}

// readConfig reads what the host wrote.
func readConfig() (guestConfig, error) {
	var config guestConfig
	text, err := os.ReadFile(configFile)
	if err != nil {
		return config, err
	}
	err = json.Unmarshal(text, &config)
	return config, err
}

// mountAll mounts what every Linux system has.
func mountAll() error {
	mounts := []struct{ kind, at string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/run"},
		{"tmpfs", "/tmp"},
		{"debugfs", "/sys/kernel/debug"},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// startUdev starts udevd, has it look at all block devices there are, and waits until it has.
func startUdev() error {
	cmd := exec.Command(udevd, "--daemon")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("start udevd: %w: %s", err, out)
	}
	for _, args := range [][]string{{"trigger", "--action=add", "--subsystem-match=block"}, {"settle", fmt.Sprintf("--timeout=%.0f", bootTimeout.Seconds())}} {
		if out, err := exec.Command("udevadm", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("udevadm %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// openPort opens a virtio port that leads to the host, waiting for the kernel to make its node.
func openPort(port string) (*os.File, error) {
	for deadline := time.Now().Add(bootTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == port {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_WRONLY, 0)
			}
		}
	}
	return nil, fmt.Errorf("open port %s to the host: time is up", port)
}

// say gives the host the verdict; it has it when say returns.
func say(verdict string) error {
	port, err := openPort(verdictPort)
	if err != nil {
		return err
	}
	_, err = io.WriteString(port, verdict)
	return errors.Join(err, port.Close())
}

// supervise runs the command, buries whatever dies meanwhile, and returns the exit status of the command. A command that
// cannot be started ends with 127, as it would in a shell.
func supervise(config guestConfig, port *os.File) (int, error) {
	child, err := startCommand(config, port)
	if err != nil {
		_, err = fmt.Fprintln(port, "vm:", err)
		return 127, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return 0, fmt.Errorf("wait for the command: %w", err)
		}
		if pid == child && (status.Exited() || status.Signaled()) {
			return exitCode(status), nil
		}
	}
}

// exitCode is status as a shell would say it.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// startCommand starts the command in a session of its own and returns its process number. The process is never waited
// for by Go: supervise does that.
func startCommand(config guestConfig, port *os.File) (int, error) {
	file, err := exec.LookPath(config.Args[0])
	if err != nil {
		return 0, err
	}
	attr := &os.ProcAttr{
		Dir:   config.Dir,
		Env:   slices.Concat(os.Environ(), []string{"HOME=/root", guestVar + "=1"}, config.Env),
		Files: []*os.File{nil, port, port},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if config.Terminal {
		terminal, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return 0, err
		}
		defer func() { _ = terminal.Close() }() // the command has its own
		attr.Files = []*os.File{terminal, terminal, terminal}
		attr.Sys.Setctty = true
	}
	process, err := os.StartProcess(file, config.Args, attr)
	if err != nil {
		return 0, err
	}
	return process.Pid, nil
}

// syncDisks writes out what file systems hold back, for as long as that may take a machine in order: behind a device
// that hangs it would take for ever.
func syncDisks() {
	done := make(chan struct{})
	go func() {
		unix.Sync()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(bootTimeout):
	}
}

// off ends the machine at once, without a look at what runs: a reset, on which QEMU exits. It does not return.
func off() {
	err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
	panic(fmt.Sprintf("reset the machine: %v", err)) // which ends the machine as well
}
