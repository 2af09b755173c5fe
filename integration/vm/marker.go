package vm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The marker is a line of its own on the virtio port, the last thing a guest says:
//
//	plexctl-vm 1b9d6bcd exit 0
//	plexctl-vm 1b9d6bcd cut
//
// The word in the middle is new in every run.

// markerExit is the marker of a command that ended.
func markerExit(token string, code int) string { return fmt.Sprintf("plexctl-vm %s exit %d", token, code) }

// markerCut is the marker of a guest that is about to cut its own power.
func markerCut(token string) string { return "plexctl-vm " + token + " cut" }

// verdict is what the output of a guest said about its end.
type verdict struct {
	said bool // a marker was there
	cut  bool // the power was cut, from inside or from outside
	code int
}

// err is the verdict as Machine.Run returns it.
func (v verdict) err() error {
	switch {
	case v.cut:
		return ErrCut
	case !v.said:
		return ErrNoVerdict
	case v.code != 0:
		return &ExitError{Code: v.code}
	}
	return nil
}

// listener passes on the output of a guest, line by line, and looks for the marker and for the text to cut the power on.
type listener struct {
	token   string
	out     io.Writer
	cutOn   string // "" for never
	kill    func() // ends the guest
	verdict verdict
}

// listen reads r to its end.
func (l *listener) listen(r io.Reader) error {
	buffered := bufio.NewReader(r)
	for {
		line, err := buffered.ReadBytes('\n')
		if werr := l.line(line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line of output, the last of which may lack its end. What precedes a marker on its line is output of a
// command that ended without a line feed.
func (l *listener) line(line []byte) error {
	text, mark, found := bytes.Cut(line, []byte("plexctl-vm "+l.token+" "))
	if found {
		l.mark(strings.TrimSpace(string(mark)))
	}
	if _, err := l.out.Write(text); err != nil {
		return err
	}
	if l.cutOn != "" && !l.verdict.cut && bytes.Contains(text, []byte(l.cutOn)) {
		l.verdict.cut = true
		l.kill()
	}
	return nil
}

// mark takes what follows the token in a marker.
func (l *listener) mark(text string) {
	if text == "cut" {
		l.verdict.cut = true
		return
	}
	status, ok := strings.CutPrefix(text, "exit ")
	code, err := strconv.Atoi(status)
	if ok && err == nil {
		l.verdict.said, l.verdict.code = true, code
		time.AfterFunc(offGrace, l.kill)
	}
}
