//go:build linux && (amd64 || arm64)

package dm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traced is what one call of doLibraryCalls did.
type traced struct {
	command     uint
	bytes       []byte
	systemCalls int
}

// traceCalls runs this binary with tracedEnv, and returns what stands between its marks.
func traceCalls(t *testing.T) []traced {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tr := &tracer{main: -1}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread that begins to trace has to go on with it; it ends with this goroutine
		done <- tr.run(path)
	}()
	if err := <-done; err != nil {
		t.Fatalf("trace: %v", err)
	}
	if tr.open {
		t.Fatal("the last call was not finished")
	}
	return tr.seen
}

// tracer follows a process with ptrace.
type tracer struct {
	seen []traced
	main int  // the thread that makes the calls; -1 before the first mark
	open bool // the last of seen is going on
}

// syscallStop is how a thread stops at a system call (PTRACE_O_TRACESYSGOOD).
const syscallStop = unix.SIGTRAP | 0x80

// run runs the program at path to its end.
func (tr *tracer) run(path string) error {
	p, err := os.StartProcess(path, []string{path}, &os.ProcAttr{
		Env:   append(os.Environ(), tracedEnv+"=1"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &unix.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return err
	}
	limit := time.AfterFunc(time.Minute, func() { _ = p.Kill() })
	defer limit.Stop()
	for {
		tid, status, err := wait()
		switch {
		case err != nil:
			return err
		case status.Stopped():
			err = tr.stopped(tid, status.StopSignal())
		case tid == p.Pid && status.Exited(): // which is reported after all other threads have gone
			return nil
		case tid == p.Pid:
			return fmt.Errorf("ended with %v", status.Signal())
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it is on its way out
			return err
		}
	}
}

// wait is the next thing that happens to a child of this thread; those of the test's other threads are somebody else's.
func wait() (tid int, status unix.WaitStatus, err error) {
	for {
		tid, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return tid, status, err
		}
	}
}

// stopped looks at a thread that has stopped, and lets it go on to its next system call.
func (tr *tracer) stopped(tid int, signal unix.Signal) error {
	var err error
	switch signal {
	case syscallStop:
		signal, err = 0, tr.called(tid)
	case unix.SIGTRAP: // the program begins, or has made a thread
		signal, err = 0, unix.PtraceSetOptions(tid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL)
	case unix.SIGSTOP: // a thread begins
		signal = 0
	}
	return errors.Join(err, unix.PtraceSyscall(tid, int(signal)))
}

// syscallInfo is struct ptrace_syscall_info, as far as the arguments of a call that begins.
type syscallInfo struct {
	op    uint8
	_     [3]uint8
	arch  uint32
	ip    uint64
	stack uint64
	nr    uint64
	args  [6]uint64
}

// callBegins is the op of a call that begins (include/uapi/linux/ptrace.h, PTRACE_SYSCALL_INFO_ENTRY).
const callBegins = 1

// called looks at a system call that begins.
func (tr *tracer) called(tid int) error {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return errno
	}
	if info.op != callBegins {
		return nil
	}
	if info.nr == unix.SYS_GETPGID && info.args[0] >= markBase {
		tr.main, tr.open = tid, int(info.args[0]-markBase) < 2*len(libraryCalls)
		if tr.open {
			tr.seen = append(tr.seen, traced{})
		}
		return nil
	}
	if tid != tr.main || !tr.open {
		return nil
	}
	return tr.note(tid, info)
}

// descriptorCalls are the system calls that are counted: those about a file descriptor. Go's runtime makes others at any time.
var descriptorCalls = []uint64{
	unix.SYS_OPENAT, unix.SYS_FCNTL, unix.SYS_FSTAT, unix.SYS_EPOLL_CTL, unix.SYS_IOCTL, unix.SYS_READ, unix.SYS_LSEEK, unix.SYS_CLOSE,
}

// note adds a system call to the call that is going on.
func (tr *tracer) note(tid int, info syscallInfo) error {
	if !slices.Contains(descriptorCalls, info.nr) {
		return nil
	}
	last := &tr.seen[len(tr.seen)-1]
	last.systemCalls++
	switch info.nr {
	case unix.SYS_OPENAT:
		return redirect(tid, uintptr(info.args[1]))
	case unix.SYS_IOCTL:
		var head [atDataSize + 4]byte
		if _, err := unix.PtracePeekData(tid, uintptr(info.args[2]), head[:]); err != nil {
			return err
		}
		last.command = uint(info.args[1])
		last.bytes = make([]byte, binary.NativeEndian.Uint32(head[atDataSize:]))
		_, err := unix.PtracePeekData(tid, uintptr(info.args[2]), last.bytes)
		return err
	}
	return nil
}

// redirect makes a call that opens the control node open the stand-in.
func redirect(tid int, at uintptr) error {
	path := make([]byte, len(controlPath)+1)
	if _, err := unix.PtracePeekData(tid, at, path); err != nil {
		return err
	}
	if got := unix.ByteSliceToString(path); got != controlPath {
		return fmt.Errorf("the library opens %q", got)
	}
	_, err := unix.PtracePokeData(tid, at, append([]byte(standIn), 0))
	return err
}
