//go:build linux

// Package standby starts this program a second time, as the guard of a window, and is that guard.
//
//	Start    engine.Guard of the real kernel: starts the guard, sends it a beat again and again, and sends it away
//	Guards   the whole work of a process that was started as a guard
//
// The guard reads its standard input. A beat is a byte that says that the first process lives and goes on. Another byte sends the
// guard away. An end without that byte says that the first process has died. A LUN that is suspended while no beat comes says that
// the first process stands still: SIGSTOP, the freezer of a control group, a debugger. In the last two cases the guard resumes the
// LUN. The guard has the host's lock together with the first process, so no third one can come between them.
//
// The guard has a session of its own and ignores what ends a terminal's or a service's processes. The LUN may hold the very files
// that a guard would read. So it opens only device nodes, /proc and /sys, and its memory is locked.
package standby

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plexctl/plexctl/lun/internal/engine"
)

// readyWord is what a guard says when it is ready.
const readyWord = "ready\n"

// word is the first argument of a program that is started as a guard. The others are the LUN and its drives, by number.
const word = "plexctl-guard"

const (
	readyLimit = 10 * time.Second       // for a guard, to be ready
	endLimit   = 10 * time.Second       // for a guard that was sent away, to end
	beat       = 500 * time.Millisecond // between two beats
	patience   = 10                     // so many beats may be missing while a LUN is suspended
)

// Bytes that a guard gets.
const (
	sentAway byte = iota
	alive
)

// asked says that this program has asked whether it is a guard.
var asked atomic.Bool

// Prepared returns an error if a guard of this program would not know that it is one.
func Prepared() error {
	if asked.Load() {
		return nil
	}
	return errors.New("this program starts itself again to guard LUNs: let its main function call lun.BeGuard first, and return if that says true")
}

// Start starts a guard. When the guard is ready, Start's Post locks this process's memory, too.
func Start(_ context.Context, w engine.Watched) (engine.Post, error) {
	if err := Prepared(); err != nil {
		return engine.Post{}, err
	}
	in, pulse, err := os.Pipe()
	if err != nil {
		return engine.Post{}, err
	}
	ready, out, err := os.Pipe()
	if err != nil {
		return engine.Post{}, errors.Join(err, in.Close(), pulse.Close())
	}
	process, err := spawn(w, in, out)
	if err != nil {
		return engine.Post{}, errors.Join(err, pulse.Close(), ready.Close())
	}
	g := &guard{process: process, pulse: pulse, ready: ready, quit: make(chan struct{}), unlock: func() {}}
	return engine.Post{Ready: g.await, Dismiss: g.dismiss}, nil
}

// spawn starts this program with these ends of its pipes, and closes them here.
func spawn(w engine.Watched, in, out *os.File) (*os.Process, error) {
	defer in.Close()  //nolint:errcheck // the guard's end
	defer out.Close() //nolint:errcheck // same
	args := []string{os.Args[0], word, w.LUN.String()}
	for _, dev := range w.Drives {
		args = append(args, dev.String())
	}
	return os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Files: []*os.File{in, out, os.Stderr, w.Lock}, Env: os.Environ(), Dir: "/", Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// guard is a guard as the process sees it that has started it.
type guard struct {
	process *os.Process
	pulse   *os.File // gets beats
	ready   *os.File // says that the guard is ready
	quit    chan struct{}
	unlock  func()
}

// await waits until the guard says that it is ready.
func (g *guard) await() error {
	err := g.ready.SetReadDeadline(time.Now().Add(readyLimit))
	said := make([]byte, len(readyWord))
	if err == nil {
		_, err = io.ReadFull(g.ready, said)
	}
	if err == nil && string(said) != readyWord {
		err = fmt.Errorf("it is another program, which says %q", said)
	}
	if err != nil {
		return fmt.Errorf("the process that is to stand by does not start: %w", errors.Join(err, g.process.Kill()))
	}
	g.unlock = lockMemory()
	go g.beat()
	return nil
}

// beat tells the guard that this process goes on.
func (g *guard) beat() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-g.quit:
			return
		case <-tick.C:
			_, _ = g.pulse.Write([]byte{alive}) // a guard that is gone needs none
		}
	}
}

// dismiss sends the guard away, and returns when the guard has ended.
func (g *guard) dismiss() {
	close(g.quit)
	g.unlock()
	_ = g.pulse.SetWriteDeadline(time.Now().Add(endLimit))
	_, _ = g.pulse.Write([]byte{sentAway}) // a guard that is gone need not be sent away
	_ = g.pulse.Close()
	_ = g.ready.Close()
	stuck := time.AfterFunc(endLimit, func() { _ = g.process.Kill() }) // it is stopped, say
	defer stuck.Stop()
	_, _ = g.process.Wait()
}
