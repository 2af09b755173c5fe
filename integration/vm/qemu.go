package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

const (
	// defaultTimeout bounds a run whose context has no deadline.
	defaultTimeout = 10 * time.Minute
	// blockedGrace is how long a hung guest gets to print its blocked tasks.
	blockedGrace = 5 * time.Second
	// offGrace is how long a guest gets to switch itself off after its verdict.
	offGrace = 15 * time.Second
	// outFD is the descriptor at which QEMU finds the pipe for the guest's output.
	outFD = 3
)

// Run boots the machine, runs a command in it and waits for its end. It returns nil only if the guest said that the
// command ended with status 0; an *ExitError for another status; ErrCut, ErrHung or ErrNoVerdict. Run ends by ctx's
// deadline, or after 10 minutes if it has none, and leaves no process behind.
func (m *Machine) Run(ctx context.Context, args ...string) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	if err := m.run(ctx, args); err != nil {
		return fmt.Errorf("kernel %s: %w", m.Kernel.Series, err)
	}
	return nil
}

// run is Run with a deadline in ctx.
func (m *Machine) run(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "plexctl-vm-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	token := rand.Text()
	config := guestConfig{Token: token, Load: append(bootModules(), m.Modules...), Udev: m.Udev, Env: m.Env, Args: args}
	cmd, err := m.command(ctx, dir, config)
	if err != nil {
		return err
	}
	g := guest{cmd: cmd, listener: listener{token: token, out: orDiscard(m.Output), cutOn: m.CutOn}}
	return g.run(ctx, orDiscard(m.Console))
}

// orDiscard is w, or what takes everything if there is none.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// command writes the guest's initramfs to dir and is the QEMU that boots it.
func (m *Machine) command(ctx context.Context, dir string, config guestConfig) (*exec.Cmd, error) {
	full, err := m.withDefaults()
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(dir, "initramfs")
	f, err := os.Create(initrd)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writeInitramfs(ctx, f, &full, config), f.Close()); err != nil {
		return nil, err
	}
	accel, err := accelerator()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("qemu-system-x86_64", full.arguments(accel, initrd)...)
	// A guest must not outlive the tests that watch it, whatever ends them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// withDefaults is m with its zero values filled in.
func (m *Machine) withDefaults() (Machine, error) {
	full := *m
	if full.Init == "" {
		self, err := os.Executable()
		if err != nil {
			return full, err
		}
		full.Init = self
	}
	if full.Memory == 0 {
		full.Memory = 2 * size.GiB
	}
	if full.CPUs == 0 {
		full.CPUs = 2
	}
	return full, nil
}

// arguments are those of QEMU. Typing C-a b on its standard input sends a break to the guest, which makes the kernel take
// the next character as a sysrq command.
func (m *Machine) arguments(accel, initrd string) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", accel, "-cpu", "max", "-smp", strconv.Itoa(m.CPUs), "-m", strconv.FormatUint(uint64(m.Memory/size.MiB), 10),
		"-kernel", m.Kernel.Image, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 quiet sysrq_always_enabled",
		"-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console", "-mon", "chardev=console",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("file,id=out,path=/dev/fd/%d", outFD),
		"-device", "virtserialport,chardev=out,name=" + portName,
	}
	for i, disk := range m.Disks {
		args = append(args, disk.arguments(fmt.Sprintf("disk%d", i))...)
	}
	return args
}

// arguments are those of QEMU for one disk.
func (d Disk) arguments(id string) []string {
	block := max(d.Block, size.Sector)
	return []string{
		"-blockdev", fmt.Sprintf("driver=raw,node-name=%s,discard=unmap,cache.direct=%s,file.driver=file,file.filename=%s",
			id, onOff(takesDirect(d.Path)), strings.ReplaceAll(d.Path, ",", ",,")),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s,write-cache=on,logical_block_size=%d,physical_block_size=%d",
			id, d.Serial, block, block),
	}
}

// onOff is b as QEMU spells it.
func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// takesDirect reports whether the file can be opened past the host's page cache, which tmpfs of older kernels refuses.
func takesDirect(file string) bool {
	f, err := os.OpenFile(file, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// guest is a running QEMU.
type guest struct {
	cmd      *exec.Cmd
	stdin    io.Writer
	console  tail
	listener listener
}

// run starts QEMU, watches it to its end and returns the verdict.
func (g *guest) run(ctx context.Context, console io.Writer) error {
	output, err := g.start(console)
	if err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- g.listener.listen(output) }()
	hung := g.wait(ctx)
	listenErr := errors.Join(<-heard, output.Close())
	if hung != nil && !g.listener.verdict.said {
		return fmt.Errorf("%w; the console ended with:\n%s", hung, &g.console)
	}
	verdict := g.listener.verdict.err()
	if errors.Is(verdict, ErrNoVerdict) {
		verdict = fmt.Errorf("%w; the console ended with:\n%s", verdict, &g.console)
	}
	return errors.Join(verdict, listenErr)
}

// start starts QEMU and returns the end of the pipe that the guest's output comes out of.
func (g *guest) start(console io.Writer) (*os.File, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = input.Close() }() // QEMU has its own
	g.cmd.ExtraFiles = []*os.File{input} // becomes outFD
	g.cmd.Stdout = io.MultiWriter(console, &g.console)
	g.cmd.Stderr = g.cmd.Stdout
	g.listener.kill = g.kill
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	if err := g.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start QEMU: %w", err), output.Close())
	}
	return output, nil
}

// wait waits for QEMU's end and brings it about when the time is up, which it returns as ErrHung.
func (g *guest) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		_ = g.cmd.Wait() // the verdict is the guest's; QEMU's own status says less
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	g.showBlocked()
	select {
	case <-ended:
	case <-time.After(blockedGrace):
		g.kill()
		<-ended
	}
	return fmt.Errorf("%w: %w", ErrHung, context.Cause(ctx))
}

// kill ends QEMU, which is what a power cut is to the guest.
func (g *guest) kill() { _ = g.cmd.Process.Kill() } // the only error is that it has ended

// showBlocked makes the kernel print what its tasks are blocked on: log level 8, then w.
func (g *guest) showBlocked() {
	for _, command := range "8w" {
		if _, err := fmt.Fprintf(g.stdin, "\x01b%c", command); err != nil {
			return // QEMU is gone, and with it the guest
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

// tailLength is enough for a panic with its call trace.
const tailLength = 8 << 10

// Write keeps p.
func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailLength):]
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string { return string(t.text) }
