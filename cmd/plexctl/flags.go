package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// yesFlag adds --yes to a command that destroys something. changing hands it to the session.
func yesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolP("yes", "y", false, "do not ask; required when there is no terminal")
}

// anyKernelFlag adds --force to a command that has the kernel fill plexes.
func (c *cli) anyKernelFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.global.anyKernel, "force", false, "work with a kernel that is known to hang, or to lose data")
}

// waitFlag adds --wait to a command that begins an operation. end completes the sentence "wait until …".
func waitFlag(cmd *cobra.Command, wait *bool, end string) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait until "+end+", and show how it gets on")
}

// driveFlag adds --drive. use completes the sentence "… this DRIVE".
func (c *cli) driveFlag(cmd *cobra.Command, drives *[]string, use string) {
	cmd.Flags().VarP(&values{drives, "DRIVE"}, "drive", "d", use+" this drive, by path or GUID; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("drive", c.completion(driveNames)))
}

// sizeHelp tells how to write a size.
const sizeHelp = "SIZE is a number with a unit (10GiB, 512M, 1.5T; letters alone are powers of 1024) and is rounded up to a MiB.\n" +
	"\"max\" is all the room that there is."

// sizeFlag adds a flag whose value is a size.
func sizeFlag(cmd *cobra.Command, into *size.Bytes, name, shorthand, usage string) {
	cmd.Flags().VarP(&value[size.Bytes]{into, parseSize, "SIZE"}, name, shorthand, usage)
}

// parseSize reads a size as people write it.
func parseSize(text string) (size.Bytes, error) {
	if text = strings.TrimSpace(text); text == "max" {
		return lun.AllRoom, nil
	}
	return size.Parse(text)
}

// wordFlag adds a flag whose value is any word. A shell shows usage as it is, so it has no backquotes.
func wordFlag(cmd *cobra.Command, into *string, name, word, usage string) {
	cmd.Flags().Var(&value[string]{into, func(text string) (string, error) { return text, nil }, word}, name, usage)
}

// values is the values of a flag that may be repeated.
type values struct {
	into *[]string
	word string // for one of them in help
}

// String is the values as help shows the default: none.
func (*values) String() string { return "" }

// Set takes one more value from the command line.
func (v *values) Set(text string) error {
	*v.into = append(*v.into, text)
	return nil
}

// Type is the word for a value in help.
func (v *values) Type() string { return v.word }

// value is the value of a flag.
type value[T comparable] struct {
	into  *T
	parse func(text string) (T, error)
	word  string // for the value in help
}

// String is the value as help shows the default.
func (v *value[T]) String() string {
	var none T
	if *v.into == none {
		return ""
	}
	return fmt.Sprint(*v.into)
}

// Set takes a value from the command line.
func (v *value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err == nil {
		*v.into = parsed
	}
	return err
}

// Type is the word for the value in help.
func (v *value[T]) Type() string { return v.word }
