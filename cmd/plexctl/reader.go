package main

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/apart"
	"github.com/plexctl/plexctl/lun"
)

// A reader is plexctl, started by plexctl, that reads the labels of devices. A device may never answer, and then the reader cannot
// end before the device answers or goes; the plexctl that has started it can. One reader serves a whole command.

// readerName is the command that startReader starts. It is none for users, and main looks for it before anything else.
const readerName = "read-devices"

// serveReader is the reader's main function. It ends when the other plexctl does, or sends it away.
func serveReader() int {
	// Signals of a terminal or a service are for the other plexctl, which may still need the reader.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if apart.Serve(os.Stdin, os.Stdout, blockdev.Host{}, filepath.Dir(lun.DefaultLockPath)) != nil {
		return int(exitOther)
	}
	return int(exitDone)
}

// readerEnd is how long a reader may take to end. Only one that a device holds up takes longer, and it is left behind.
const readerEnd = 100 * time.Millisecond

// startReader starts a reader.
func startReader() (apart.Process, error) {
	in, requests, err := os.Pipe()
	if err != nil {
		return apart.Process{}, err
	}
	replies, out, err := os.Pipe()
	if err != nil {
		return apart.Process{}, errors.Join(err, in.Close(), requests.Close())
	}
	process, err := os.StartProcess("/proc/self/exe", []string{"plexctl", readerName}, &os.ProcAttr{
		Files: []*os.File{in, out, nil}, Env: []string{}, Dir: "/", Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err := errors.Join(err, in.Close(), out.Close()); err != nil {
		return apart.Process{}, errors.Join(err, requests.Close(), replies.Close())
	}
	ended := make(chan struct{})
	go func() {
		process.Wait() //nolint:errcheck // how it has ended is of no interest
		close(ended)
	}()
	return apart.Process{In: requests, Out: replies, End: func() {
		process.Kill() //nolint:errcheck // it may have ended
		select {
		case <-ended:
		case <-time.After(readerEnd):
		}
	}}, nil
}
