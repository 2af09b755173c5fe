package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/size"
)

// yesFlag adds --yes to a command that destroys something.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask; required when there is no terminal")
}

// waitFlag adds --wait to a command that begins an operation. end completes the sentence "wait until …".
func waitFlag(cmd *cobra.Command, wait *bool, end string) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait until "+end+", and show how it gets on")
}

// driveFlag adds --drive. use completes the sentence "… this DRIVE".
func (c *cli) driveFlag(cmd *cobra.Command, drives *[]string, use string) {
	cmd.Flags().StringArrayVarP(drives, "drive", "d", nil, use+" this `DRIVE`, by path or GUID; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("drive", c.completion(driveNames)))
}

// sizeHelp tells how to write a size.
const sizeHelp = "SIZE is a number with a unit (10GiB, 512M, 1.5T; letters alone are powers of 1024) and is rounded up to a MiB."

// bytesFlag is a flag whose value is a size.
type bytesFlag size.Bytes

// String is the value; empty when the flag was not given.
func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return size.Bytes(*b).String()
}

// Set takes a value from the command line.
func (b *bytesFlag) Set(text string) error {
	parsed, err := size.Parse(strings.TrimSpace(text))
	*b = bytesFlag(parsed)
	return err
}

// Type is the word for the value in help.
func (b *bytesFlag) Type() string { return "SIZE" }
