package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/internal/config"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// globalOptions are the flags of all commands.
type globalOptions struct {
	format      format        // -o
	verbose     bool          // -v
	bytes       bool          // --bytes
	lockTimeout time.Duration // --lock-timeout
	devices     config.Config // --only-device, --never-device
	anyKernel   bool          // --force of the commands that add and recover plexes
}

// cli is a command line: an app, and the flags that all commands have. Constructors of commands get it. Run functions do not:
// what they need of it is in their session.
type cli struct {
	*app
	global globalOptions
	named  func(string) string // of the host, once it is open; see printer
}

func newCLI(a *app) *cli {
	return &cli{app: a, global: globalOptions{format: formatText}}
}

// defaultLockTimeout is enough for all changes but one: a tracked LUN that plexctl has to zero. None copies data meanwhile.
const defaultLockTimeout = time.Minute

// noOptions are those of a command without operands and flags of its own.
type noOptions struct{}

// reading makes cmd a command that changes nothing. Its flags and its operands fill opts, which run gets. If a command has
// one operand and no flags, the operand is all of its options.
func reading[O any](
	c *cli, cmd *cobra.Command, opts *O, run func(context.Context, *session, O) error, ops ...operand,
) *cobra.Command {
	c.takes(cmd, ops...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.with(cmd.Context(), func(ctx context.Context, s *session) error { return run(ctx, s, *opts) })
	}
	return cmd
}

// changing makes cmd a command that changes something, with --dry-run. A change that would be refused is refused before
// anything is asked.
func changing[O any](
	c *cli, cmd *cobra.Command, opts *O, run func(context.Context, *session, O) (outcome, error), ops ...operand,
) *cobra.Command {
	c.takes(cmd, ops...)
	var dryRun bool
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing; print each step, and how it would be taken back")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.with(cmd.Context(), func(ctx context.Context, s *session) error {
			change := func(s *session) (outcome, error) { return run(ctx, s, *opts) }
			if dryRun {
				return s.printPlan(s.plan(change))
			}
			s.yes, _ = cmd.Flags().GetBool("yes") // a command without the flag asks nothing
			s.rehearse = func() error { return s.refusal(change) }
			s.warnOfSilence()
			show, err := change(s)
			if show == nil {
				return err
			}
			return show(ctx)
		})
	}
	return cmd
}

// warnOfSilence names the devices that a change does without.
func (s *session) warnOfSilence() {
	for _, d := range s.Silent() {
		fmt.Fprint(s.err, s.shown(fmt.Sprintf("plexctl does without %s: %v\n", d.Info.Path, d.Err)))
	}
}

// with runs f on the host. Without privilege it refuses before anything is looked at.
func (c *cli) with(ctx context.Context, f func(context.Context, *session) error) error {
	if !c.root {
		return &vds.Error{
			Code: vds.ErrAccessDenied, Reason: "device-mapper and the drives are for root alone",
			Hint: "run plexctl as root, with sudo for example",
		}
	}
	if c.global.lockTimeout < 0 {
		return usage("name a time such as 30s, or 0", "--lock-timeout is negative")
	}
	opts := lun.Options{Logger: c.logger(), LockTimeout: c.global.lockTimeout, AnyKernel: c.global.anyKernel}
	devices, err := c.devices()
	if err != nil {
		return err
	}
	if !devices.Empty() {
		opts.LeaveOut = devices.LeaveOut()
	}
	if opts.LockTimeout == 0 {
		opts.LockTimeout = -1 // lun's word for not waiting
	}
	h, err := c.open(ctx, opts)
	if err != nil {
		return err
	}
	defer h.close()
	c.named = h.named
	return lockFault(f(ctx, &session{host: h, printer: c.printer(), after: c.after}))
}

// devices is the devices to read: those of the configuration file, and those of the flags.
func (c *cli) devices() (config.Config, error) {
	devices, err := config.Read(c.config)
	if err != nil {
		return devices, &vds.Error{Code: vds.ErrInvalidArg, Err: err, Hint: "correct the file; docs/configuration.md describes it"}
	}
	flags := c.global.devices
	if err := config.Check(slices.Concat(flags.Only, flags.Never)); err != nil {
		return devices, usage("name devices by paths such as '/dev/sd*'", "%v", err)
	}
	if len(flags.Only) > 0 {
		devices.Only = flags.Only
	}
	devices.Never = append(devices.Never, flags.Never...)
	return devices, nil
}

// printer is how the user wants the output.
func (c *cli) printer() printer {
	return printer{c.streams, c.global.format, c.global.verbose, c.global.bytes, c.named}
}

// logger is where the library reports: warnings, and with --verbose every step.
func (c *cli) logger() *slog.Logger {
	if c.global.verbose {
		return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(warnings{c})
}
