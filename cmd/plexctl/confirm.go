package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/vds"
)

// yesFlag adds --yes to a command that destroys something.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask; required when there is no terminal")
}

// confirm lets a command go on that destroys something: with --yes, or when the user at the terminal answers yes. loss
// says what will be lost, in whole sentences. A dry run loses nothing.
func (a *app) confirm(ctx context.Context, yes bool, loss string) error {
	if yes || a.dryRun {
		return nil
	}
	if !a.canAsk() {
		return usage("if that is wanted, add --yes", "there is no terminal to ask at: %s", strings.ReplaceAll(loss, "\n", " "))
	}
	fmt.Fprintf(a.err, "%s\nType yes to go on: ", loss)
	answer, err := a.readLine(ctx)
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return &vds.Error{Code: vds.ErrOperationCanceled, Reason: "not confirmed, nothing has changed"}
	}
	return nil
}

// canAsk reports whether there is somebody who hears a question and can answer it.
func (a *app) canAsk() bool { return a.terminal.in && a.terminal.err }

// readLine reads an answer. An interrupt ends the wait for it, not the read, which ends with the process.
func (a *app) readLine(ctx context.Context) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(a.in).ReadString('\n') // the end of the input is an answer too: not yes
		line <- text
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return "", &vds.Error{Code: vds.ErrAbort, Reason: "interrupted, nothing has changed"}
	}
}
