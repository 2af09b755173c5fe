package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

// completionTime bounds how long a shell waits for names after Tab.
const completionTime = 3 * time.Second

// names lists what a shell may offer. args are the arguments that the command line has already.
type names func(ctx context.Context, h *host, args []string) []cobra.Completion

// complete completes the operands of a command one after the other, and nothing after them.
func (c *cli) complete(ops []operand) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := len(args)
		if n := len(ops); n > 0 && several(ops[n-1].name) {
			at = min(at, n-1)
		}
		if at >= len(ops) || ops[at].offer == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.completion(ops[at].offer)(cmd, args, text)
	}
}

// completion completes one operand or flag. It offers nothing if the host cannot be read.
func (c *cli) completion(offer names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		var found []cobra.Completion
		err := c.with(ctx, func(ctx context.Context, s *session) error {
			found = offer(ctx, s.host, args)
			return nil
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func lunNames(_ context.Context, h *host, _ []string) []cobra.Completion {
	return listOf(h.LUNs(), (*lun.LUN).Name)
}

// plexNames lists the plexes of the LUN that is the first argument.
func plexNames(ctx context.Context, h *host, args []string) []cobra.Completion {
	l, err := h.LUN(args[0])
	if err != nil {
		return nil
	}
	props, err := l.Properties(ctx)
	if err != nil {
		return nil
	}
	return listOf(newLUNDoc(props, h.driveRefs()).Plexes, func(p plexDoc) cobra.Completion {
		return cobra.CompletionWithDesc(p.ID.String(), driveText(p.Drives))
	})
}

func driveNames(_ context.Context, h *host, _ []string) []cobra.Completion {
	return namesOf(h.Drives())
}

// foreignNames lists the drives of other hosts.
func foreignNames(_ context.Context, h *host, _ []string) []cobra.Completion {
	return namesOf(slices.DeleteFunc(h.Drives(), func(d lun.Drive) bool { return d.State != lun.DriveForeign }))
}

func namesOf(drives []lun.Drive) []cobra.Completion {
	return listOf(drives, func(d lun.Drive) cobra.Completion {
		return cobra.CompletionWithDesc(d.Info.Path, d.Info.Size.String())
	})
}

// operationNames lists the running operations, by their LUNs.
func operationNames(ctx context.Context, h *host, _ []string) []cobra.Completion {
	all, err := h.operations(ctx)
	if err != nil {
		return nil
	}
	var found []cobra.Completion
	for _, o := range all {
		if o.pending() {
			found = append(found, cobra.CompletionWithDesc(o.LUN.Name, fmt.Sprintf("%s, %d %%", o.Type, o.Percent)))
		}
	}
	return found
}
