package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/plexctl/plexctl/internal/config"
	"github.com/plexctl/plexctl/lun"
)

// app is plexctl before it has read its command line. Tests replace the streams and the factory.
type app struct {
	streams
	factory
}

// streams are where plexctl reads and writes.
type streams struct {
	in       io.Reader
	out      io.Writer       // results
	err      io.Writer       // questions, progress, warnings, errors as text
	gone     <-chan struct{} // closed when nobody reads results any more
	terminal terminal
}

// pipe writes to a file whose reader may go away, as `head` does. It drops what is written after that. The exit status says what
// the command has done.
type pipe struct {
	file *os.File
	once sync.Once
	gone chan struct{} // closed when the reader has gone
}

func newPipe(f *os.File) *pipe { return &pipe{file: f, gone: make(chan struct{})} }

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.once.Do(func() { close(p.gone) })
		return len(b), nil
	}
	return n, err
}

// terminal says which streams are a terminal, and what it can do.
type terminal struct {
	in, out, err bool
	width        int // columns of the terminal behind err; 0 where it does not know its size, as serial consoles
	color        bool
}

// factory opens the host that commands work on, and what else of the machine they need.
type factory struct {
	config string // path of the configuration file
	root   bool   // whether this process may use device-mapper
	// open opens the host. opts has what the command line says, and nothing else.
	open    func(ctx context.Context, opts lun.Options) (*host, error)
	examine func(context.Context) facts
	after   func(time.Duration) <-chan time.Time
}

// newApp is the app of the real host.
func newApp() *app {
	out := newPipe(os.Stdout)
	return &app{
		streams{in: os.Stdin, out: out, err: newPipe(os.Stderr), gone: out.gone, terminal: realTerminal()},
		factory{config: config.Path, root: os.Geteuid() == 0, open: openHost, examine: examineHost, after: time.After},
	}
}

// realTerminal asks what the standard streams are. NO_COLOR is https://no-color.org.
func realTerminal() terminal {
	t := terminal{
		in:  term.IsTerminal(int(os.Stdin.Fd())),
		out: term.IsTerminal(int(os.Stdout.Fd())),
		err: term.IsTerminal(int(os.Stderr.Fd())),
	}
	t.color = t.out && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, height, err := term.GetSize(int(os.Stderr.Fd())); err == nil && height > 0 {
		t.width = width
	}
	return t
}

// run carries out one command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	status, _ := a.execute(ctx, args)
	return int(status)
}

// execute carries out one command line, and reports its error.
func (a *app) execute(ctx context.Context, args []string) (exit, error) {
	c := newCLI(a)
	root := newRoot(c)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone, nil
	}
	if status, ok := errors.AsType[exit](err); ok {
		return status, err
	}
	c.global.format = formatOf(args, c.global.format)
	c.printer().report(err)
	return exitOf(codeOf(err)), err
}

// canAsk reports whether there is somebody who sees a question and can answer it.
func (s streams) canAsk() bool { return s.terminal.in && s.terminal.err }
