package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// operand is an argument of a command.
type operand struct {
	name  string              // in help and errors: "LUN", "DRIVE..." for one or more, "[LUN]" and "[LUN...]" for what may be left out
	take  func(args []string) // keeps the value, which args begins with
	offer names               // to a shell; nil: nothing
}

// one is an operand with one value.
func one(name string, into *string, offer names) operand {
	return operand{name, func(args []string) { *into = args[0] }, offer}
}

// all is an operand that takes all arguments that are left.
func all(name string, into *[]string, offer names) operand {
	return operand{name, func(args []string) { *into = args }, offer}
}

// takes gives cmd its operands: how they are checked, kept, and completed, unless cmd completes them itself. For the values of
// flags that have no completion yet, a shell offers nothing.
func (c *cli) takes(cmd *cobra.Command, ops ...operand) {
	check := operands(listOf(ops, func(op operand) string { return op.name })...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return err
		}
		for i, op := range ops[:min(len(ops), len(args))] {
			op.take(args[i:])
		}
		return nil
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = c.complete(ops)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // an error: it has a completion of its own
	})
}

// operands demands one argument for each name. If the last name ends in "...", there may be more of it. If it is in brackets,
// it may be left out.
func operands(names ...string) cobra.PositionalArgs {
	least, most := len(names), len(names)
	if n := len(names); n > 0 {
		last := names[n-1]
		if strings.HasPrefix(last, "[") {
			least--
		}
		if several(last) {
			most = -1
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(helpHint(cmd), "%s is missing", strings.TrimSuffix(names[len(args)], "..."))
		case most >= 0 && len(args) > most:
			return usage(helpHint(cmd), "unexpected argument %q", args[most])
		}
		return nil
	}
}

// several reports whether an operand takes all arguments that are left.
func several(name string) bool { return strings.HasSuffix(strings.Trim(name, "[]"), "...") }
