package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/plexctl/plexctl/internal/config"
)

// newRoot builds the whole command tree.
func newRoot(c *cli) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "plexctl",
		Short: "Mirror LUNs while they are in use",
		Long: "plexctl makes LUNs of block devices and mirrors a LUN while it is in use. It absorbs another LUN as a new plex, and the\n" +
			"kernel copies the data. Results are written to stdout, everything else to stderr.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	},
		newDrive(c), newLUN(c), newPlex(c), newOp(c),
		newStatus(c), newAssemble(c), newDeactivate(c), newRefresh(c), newReenumerate(c), newDoctor(c), newVersion(c),
	)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	globalFlags(root, &c.global)
	versionFlag(root, c)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(helpHint(cmd), "%v", err) })
	root.SetHelpCommand(newHelp(root))
	root.InitDefaultCompletionCmd()
	strictCompletion(root)
	return root
}

// globalFlags gives root, and all commands below it, their common flags.
func globalFlags(root *cobra.Command, opts *globalOptions) {
	flags := root.PersistentFlags()
	flags.VarP(&value[format]{&opts.format, parseFormat, "FORMAT"}, "output", "o", "output format: text or json")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "report every step on stderr")
	flags.BoolVar(&opts.bytes, "bytes", false, "show sizes in lists as numbers of bytes")
	opts.lockTimeout = defaultLockTimeout
	flags.Var(&value[time.Duration]{&opts.lockTimeout, time.ParseDuration, "DURATION"}, "lock-timeout",
		"let a change wait so long until another plexctl has ended its own; 0: not at all")
	flags.Var(&values{&opts.devices.Only, "PATTERN"}, config.Only, "read only devices that match this pattern; may be repeated")
	flags.Var(&values{&opts.devices.Never, "PATTERN"}, config.Never, "do not read devices that match this pattern; may be repeated")
	formats := cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)
	must(root.RegisterFlagCompletionFunc("output", formats))
	must(root.RegisterFlagCompletionFunc(config.Only, cobra.NoFileCompletions))
	must(root.RegisterFlagCompletionFunc(config.Never, cobra.NoFileCompletions))
	must(root.RegisterFlagCompletionFunc("lock-timeout", cobra.NoFileCompletions))
}

// strictCompletion makes cobra's completion command refuse what it does not know.
func strictCompletion(root *cobra.Command) {
	cmd, _, err := root.Find([]string{"completion"})
	must(err)
	group(cmd)
	for _, shell := range cmd.Commands() {
		shell.Args = operands()
	}
}

// group makes cmd a command that only has subcommands: without one it shows its help and is a usage error.
func group(cmd *cobra.Command, sub ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(sub...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := helpHint(cmd)
		near := slices.DeleteFunc(cmd.SuggestionsFor(args[0]), func(name string) bool {
			return !strings.HasPrefix(name, args[0]) && max(len(name), len(args[0]))-min(len(name), len(args[0])) > 1
		})
		if len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.DisableFlagsInUseLine = true
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(cmd.Help(), exitUsage)
	}
	return cmd
}

// newHelp is cobra's help command, but with an error for a topic that does not exist.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]...",
		Short:             "Show the help of a command",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return usage(helpHint(cmd), "unknown help topic %q", strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

func helpHint(cmd *cobra.Command) string { return "see `" + cmd.CommandPath() + " --help`" }

// must panics on an error that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// format is the value of -o.
type format string

// Values of format.
const (
	formatText format = "text"
	formatJSON format = "json"
)

// parseFormat reads the value of -o.
func parseFormat(text string) (format, error) {
	switch f := format(text); f {
	case formatText, formatJSON:
		return f, nil
	}
	return "", fmt.Errorf("%q is neither text nor json", text)
}

// formatOf finds the format that args ask for, even if something in front of -o is wrong: that error is JSON too.
func formatOf(args []string, otherwise format) format {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.BoolP("help", "h", false, "")
	flags.VarP(&value[format]{&otherwise, parseFormat, "FORMAT"}, "output", "o", "")
	_ = flags.Parse(args) // whatever is wrong has been reported already
	return otherwise
}
