package vm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plexctl/plexctl/size"
)

const (
	// defaultTimeout bounds a run whose context has no deadline.
	defaultTimeout = 10 * time.Minute
	// blockedGrace is how long a hung guest gets to print its blocked tasks.
	blockedGrace = 5 * time.Second
	// outFD and verdictFD are the descriptors at which QEMU finds the pipes for what the guest says.
	outFD     = 3
	verdictFD = 4
)

// Run boots the machine, runs a command in it and waits for its end. It returns nil only if the guest said that the
// command ended with status 0; an ExitError for another status; ErrCut, ErrHung or ErrNoVerdict. Run ends by ctx's
// deadline, or after 10 minutes if it has none, and leaves no process behind.
func (m *Machine) Run(ctx context.Context, args ...string) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	full, err := m.withDefaults()
	if err == nil {
		err = full.run(ctx, args)
	}
	if err != nil {
		return fmt.Errorf("kernel %s: %w", m.Kernel.Series, err)
	}
	return nil
}

// run is Run with a deadline in ctx and the zero values of m filled in.
func (m *Machine) run(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "plexctl-vm-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	drives, err := attach(ctx, m.Disks, dir)
	if err != nil {
		return err
	}
	cmd, err := m.command(ctx, dir, drives, args)
	if err != nil {
		return err
	}
	g := guest{cmd: cmd, output: orDiscard(m.Output), cutOn: m.CutOn, cutAfter: m.CutAfter}
	if err := g.connect(m.Terminal, orDiscard(m.Console)); err != nil {
		return err
	}
	verdict := g.run(ctx)
	return errors.Join(verdict, detach(context.WithoutCancel(ctx), drives, errors.Is(verdict, ErrCut)))
}

// orDiscard is w, or what takes everything if there is none.
func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// command writes the guest's initramfs to dir and is the QEMU that boots it.
func (m *Machine) command(ctx context.Context, dir string, drives []drive, args []string) (*exec.Cmd, error) {
	accel, err := Accelerator()
	if err != nil {
		return nil, err
	}
	guest := *m
	guest.Env = append(processorEnv(accel), m.Env...)
	f, err := os.Create(filepath.Join(dir, "initramfs"))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writeInitramfs(ctx, f, &guest, args), f.Close()); err != nil {
		return nil, err
	}
	cmd := exec.Command(emulator, slices.Concat(m.arguments(accel), portArguments(dir), driveArguments(drives))...)
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
	full.Memory = cmp.Or(full.Memory, 2*size.GiB)
	full.CPUs = cmp.Or(full.CPUs, 2)
	full.Dir = cmp.Or(full.Dir, "/root")
	return full, nil
}

// arguments are those of QEMU that do not depend on the run.
func (m *Machine) arguments(accel string) []string {
	// The crypto self-tests take long under emulation, and now and then leave a processor stuck. The test of the timer
	// panics where the host is too busy to let it tick in time.
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", accel, "-cpu", processor(accel), "-smp", strconv.Itoa(m.CPUs), "-m", strconv.FormatUint(uint64(m.Memory/size.MiB), 10),
		"-kernel", m.Kernel.Image, "-append", "console=ttyS0 panic=-1 quiet sysrq_always_enabled cryptomgr.notests no_timer_check",
	}
}

// portArguments are those of QEMU for the initramfs in dir and for all that comes out of the guest. Typing C-a b on
// QEMU's standard input sends a break to the guest, which makes the kernel take the next character as a sysrq command.
func portArguments(dir string) []string {
	return []string{
		"-initrd", filepath.Join(dir, "initramfs"),
		"-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console", "-mon", "chardev=console",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("file,id=out,path=/dev/fd/%d", outFD),
		"-device", "virtserialport,chardev=out,name=" + outPort,
		"-chardev", fmt.Sprintf("file,id=verdict,path=/dev/fd/%d", verdictFD),
		"-device", "virtserialport,chardev=verdict,name=" + verdictPort,
	}
}

// guest is a running QEMU.
type guest struct {
	cmd      *exec.Cmd
	stdin    io.Writer
	console  tail
	output   io.Writer
	cutOn    string        // see Machine.CutOn
	cutAfter time.Duration // see Machine.CutAfter
	timer    *time.Timer   // cuts the power, once cutOn was heard
	cut      atomic.Bool   // the power was cut because of cutOn
	verdict  []byte
}

// connect says where QEMU's standard input and output, which are the guest's console, go.
func (g *guest) connect(terminal bool, console io.Writer) error {
	if terminal {
		g.stdin, g.cmd.Stdin, g.cmd.Stdout, g.cmd.Stderr = io.Discard, os.Stdin, os.Stdout, os.Stderr
		return nil
	}
	g.cmd.Stdout = io.MultiWriter(console, &g.console)
	g.cmd.Stderr = g.cmd.Stdout
	var err error
	g.stdin, err = g.cmd.StdinPipe()
	return err
}

// run starts QEMU, watches it to its end and returns the verdict.
func (g *guest) run(ctx context.Context) error {
	output, verdict, err := g.start()
	if err != nil {
		return err
	}
	heard := make(chan error, 2)
	go func() { heard <- g.listen(output, g.hearOutput) }()
	go func() { heard <- g.listen(verdict, g.hearVerdict) }()
	hung := g.wait(ctx)
	listenErr := errors.Join(<-heard, <-heard)
	if g.timer != nil {
		g.timer.Stop()
	}
	return errors.Join(g.end(hung), listenErr)
}

// end is the verdict on a guest that has ended: hung says that it was made to.
func (g *guest) end(hung error) error {
	if g.cut.Load() {
		return ErrCut
	}
	err := verdictError(string(g.verdict))
	if errors.Is(err, ErrNoVerdict) {
		return fmt.Errorf("%w; the console ended with:\n%s", cmp.Or(hung, err), &g.console)
	}
	return err
}

// start starts QEMU and returns the ends of the pipes that the guest's output and verdict come out of.
func (g *guest) start() (output, verdict *os.File, err error) {
	output, toOutput, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	verdict, toVerdict, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, output.Close(), toOutput.Close())
	}
	g.cmd.ExtraFiles = []*os.File{toOutput, toVerdict} // become outFD and verdictFD
	err = g.cmd.Start()
	_, _ = toOutput.Close(), toVerdict.Close() // QEMU has its own
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start QEMU: %w", err), output.Close(), verdict.Close())
	}
	return output, verdict, nil
}

// listen calls hear with each line that comes out of a pipe, up to its end.
func (g *guest) listen(pipe *os.File, hear func(line []byte) error) error {
	buffered := bufio.NewReader(pipe)
	for {
		line, err := buffered.ReadBytes('\n')
		err = errors.Join(hear(line), err)
		if errors.Is(err, io.EOF) {
			return pipe.Close()
		}
		if err != nil {
			return errors.Join(err, pipe.Close())
		}
	}
}

// hearOutput passes on a line of output, and sees to it that the power is cut if it is told to on this one.
func (g *guest) hearOutput(line []byte) error {
	switch heard := g.cutOn != "" && bytes.Contains(line, []byte(g.cutOn)); {
	case heard && g.cutAfter == 0:
		g.cutPower()
	case heard && g.timer == nil:
		g.timer = time.AfterFunc(g.cutAfter, g.cutPower)
	}
	_, err := g.output.Write(line)
	return err
}

// cutPower ends the guest without letting it know, unless it has ended.
func (g *guest) cutPower() {
	g.cut.Store(true)
	if g.cmd.Process.Kill() != nil {
		g.cut.Store(false)
	}
}

// hearVerdict keeps the verdict, and cuts the power if that is what it says.
func (g *guest) hearVerdict(line []byte) error {
	g.verdict = append(g.verdict, line...)
	if string(line) == verdictCut {
		g.kill()
	}
	return nil
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
