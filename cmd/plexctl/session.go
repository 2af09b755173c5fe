package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// session is one command at work: the host that it works on, and the user that it talks to.
type session struct {
	*host
	printer
	after  func(time.Duration) <-chan time.Time
	dryRun bool // the host plans changes and carries none out
	yes    bool // --yes: the user has agreed to lose data

	rehearse func() error // why the change would be refused; asked before the user is
}

// outcome shows what a change has led to. A dry run shows none. An interrupt ends a wait, and not the look at what was changed.
//
// A run function that changes something returns one. If the change was made in part, it returns an error with an outcome,
// and the outcome tells of the error too. If the change was refused, it returns an error alone. In a dry run the handles that
// lun returns are nil: only an outcome may use them.
type outcome func(context.Context) error

// unless returns o, or no outcome if err refused the change.
func (o outcome) unless(err error) (outcome, error) {
	if err != nil {
		return nil, err
	}
	return o, nil
}

// saying is the outcome of a change that leaves nothing to show: doc with -o json, else text on stderr.
func (s *session) saying(doc any, text string) outcome {
	return func(context.Context) error { return s.say(doc, text) }
}

// plan returns the steps of a change. It asks nothing and changes nothing. There are no steps if the whole change would be
// refused.
func (s *session) plan(change func(*session) (outcome, error)) ([]lun.PlannedStep, error) {
	dry := s.dry()
	show, err := change(dry)
	if show == nil {
		return nil, err
	}
	return dry.Plan(), err
}

// dry is s with a host that plans changes and carries none out.
func (s *session) dry() *session {
	h := *s.host
	h.Provider = s.DryRun()
	dry := *s
	dry.host, dry.dryRun = &h, true
	return &dry
}

// refusal is the error with which a whole change would be refused; nil when it would not.
func (s *session) refusal(change func(*session) (outcome, error)) error {
	dry := s.dry()
	show, err := change(dry)
	if show != nil {
		return nil
	}
	return err
}

// confirm returns nil if a command may destroy something: with --yes, or when the user at the terminal answers y or yes. loss
// says what will be lost, in whole sentences. A dry run loses nothing.
func (s *session) confirm(ctx context.Context, loss string) error {
	if s.yes || s.dryRun {
		return nil
	}
	if !s.canAsk() {
		return usage("if that is wanted, add --yes", "there is no terminal to ask at: %s", strings.ReplaceAll(loss, "\n", " "))
	}
	if s.rehearse != nil {
		if err := s.rehearse(); err != nil {
			return err
		}
	}
	fmt.Fprint(s.err, s.shown(loss+"\nGo on? [y/N] "))
	answer, err := s.readLine(ctx)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return &vds.Error{Code: vds.ErrOperationCanceled, Reason: "not confirmed, nothing has changed"}
	}
	return nil
}

// readLine reads an answer. An interrupt ends the wait for it, not the read, which ends with the process.
func (s *session) readLine(ctx context.Context) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(s.in).ReadString('\n') // the end of the input is an answer too: not yes
		line <- text
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		fmt.Fprintln(s.err)
		return "", &vds.Error{Code: vds.ErrAbort, Reason: "interrupted, nothing has changed"}
	}
}

// lockFault returns err. If --lock-timeout has run out, its hint names the flag.
func lockFault(err error) error {
	if locked, ok := errors.AsType[*hostlock.HeldError](err); !ok || !errors.Is(locked, context.DeadlineExceeded) {
		return err
	}
	hint := "try again when it has ended, or wait longer with --lock-timeout, such as --lock-timeout 10m"
	return &vds.Error{Code: codeOf(err), Err: err, Hint: hint}
}
