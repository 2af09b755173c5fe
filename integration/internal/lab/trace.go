package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Traced is a run of a command whose effects were counted, see effectOf.
type Traced struct {
	Effects []string // in order: "suspend plex-web1", "write loop0"
	Killed  bool     // by SIGKILL, as asked
	Status  int      // exit status, when it was not killed
	Output  string
}

// Deadly decides after each effect whether the process is to be killed: effects are those so far, with the last one.
type Deadly func(effects []string) bool

// After is the moment after the nth effect; with 0, or when there are fewer, it never comes.
func After(nth int) Deadly { return func(effects []string) bool { return len(effects) == nth } }

// InWindow is the moment after the first suspend.
func InWindow(effects []string) bool { return strings.HasPrefix(effects[len(effects)-1], "suspend ") }

// Trace runs plexctl and kills it as soon as an effect has returned that is deadly.
func Trace(t testing.TB, kill Deadly, args ...string) Traced {
	t.Helper()
	return TraceCommand(t, kill, "plexctl", args...)
}

// TraceCommand is trace for any command that is in PATH. All its threads are followed. A process that it starts is on its own:
// its effects are not counted, it is not killed, and TraceCommand does not wait for it.
func TraceCommand(t testing.TB, kill Deadly, command string, args ...string) Traced {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "traced")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	tr := &tracer{kill: kill, threads: map[int]bool{}, ended: make(chan error, 1)}
	go func() {
		runtime.LockOSThread() // for good: only the thread that began to trace may go on with it; it ends with this goroutine
		if err := tr.run(path, append([]string{command}, args...), out); err != nil {
			tr.ended <- err
		}
	}()
	if err := <-tr.ended; err != nil {
		t.Fatalf("trace %s %s: %v", command, strings.Join(args, " "), err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	tr.Output = string(text)
	return tr.Traced
}

// tracer follows a process with ptrace.
//
// To stop at each of its system calls would make it ten times slower. So it gets a seccomp filter that stops it at the few
// that can have an effect, see install. The filter passes on to what the process starts, and lets a call fail that nobody
// looks at: processes that it starts are followed too, to let them call what they like.
type tracer struct {
	Traced
	kill    Deadly
	pid     int
	threads map[int]bool // all that are followed; true for those of the process itself
	ended   chan error   // gets one value when the process has ended
}

// traceOptions make new threads and processes stop as they begin, calls and the start of a program stop in a way of their own,
// and nothing outlive this thread that it does not let go on.
const traceOptions = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL

// run runs the command, and returns when it and what it has started have ended.
func (tr *tracer) run(path string, args []string, out *os.File) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{null, out, out}, Sys: &unix.SysProcAttr{Ptrace: true}})
	if err != nil {
		return err
	}
	tr.pid = p.Pid
	_ = p.Release() // it is waited for here
	limit := time.AfterFunc(ToolTimeout, func() { _ = unix.Kill(tr.pid, unix.SIGKILL) })
	defer limit.Stop()
	for {
		var status unix.WaitStatus
		// Children of this thread alone: others of the test are somebody else's.
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
		case status.Stopped():
			err = tr.stopped(tid, status)
		case tid == tr.pid: // which is reported after all other threads have gone
			limit.Stop()
			tr.Killed, tr.Status = status.Signaled(), status.ExitStatus()
			tr.ended <- nil
		}
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINTR) { // ESRCH: it was killed meanwhile
			return err
		}
	}
}

// Signals and events that a thread stops with.
const (
	callStop     = unix.SIGTRAP | 0x80 // a system call returns, by PTRACE_O_TRACESYSGOOD
	filteredStop = unix.PTRACE_EVENT_SECCOMP
)

// stopped looks at a thread that has stopped, and lets it go on.
func (tr *tracer) stopped(tid int, status unix.WaitStatus) error {
	own, known := tr.threads[tid]
	switch signal := status.StopSignal(); {
	case !known && tid == tr.pid: // the command is about to begin
		tr.threads[tid] = true
		if err := errors.Join(unix.PtraceSetOptions(tid, traceOptions), install(tid)); err != nil {
			return err
		}
	case !known: // a new thread, or the first one of a process
		_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", tr.pid, tid))
		tr.threads[tid] = err == nil
	case signal == callStop:
		if dead, err := tr.called(tid); dead || err != nil {
			return err
		}
	case status.TrapCause() == filteredStop && own:
		return unix.PtraceSyscall(tid, 0) // to where the call returns
	case status.TrapCause() <= 0: // a signal of its own
		return unix.PtraceCont(tid, int(signal))
	}
	return unix.PtraceCont(tid, 0)
}

// called counts a system call that has returned if it was an effect, and kills the process if that is deadly.
func (tr *tracer) called(tid int) (dead bool, err error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false, err
	}
	effect := effectOf(tid, regs)
	if effect == "" {
		return false, nil
	}
	tr.Effects = append(tr.Effects, effect)
	if !tr.kill(tr.Effects) {
		return false, nil
	}
	return true, unix.Kill(tr.pid, unix.SIGKILL)
}
