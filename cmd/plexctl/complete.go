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

// names offers names, args being what the command line has already.
type names func(ctx context.Context, w *world, args []string) []cobra.Completion

// complete offers names for each argument of a command in turn, and nothing after them. Where the machine cannot be read,
// it offers nothing.
func (a *app) complete(each ...names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeAll(each[len(args)])(cmd, args, text)
	}
}

// completeAll offers names for all arguments of a command, or for a flag.
func (a *app) completeAll(offer names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTime)
		defer cancel()
		var found []cobra.Completion
		err := a.with(ctx, func(ctx context.Context, w *world) error {
			found = offer(ctx, w, args)
			return nil
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func lunNames(_ context.Context, w *world, _ []string) []cobra.Completion {
	var found []cobra.Completion
	for _, l := range w.LUNs() {
		found = append(found, l.Name())
	}
	return found
}

// plexNames are the plexes of the LUN that is the first argument.
func plexNames(ctx context.Context, w *world, args []string) []cobra.Completion {
	l, err := w.LUN(args[0])
	if err != nil {
		return nil
	}
	props, err := l.Properties(ctx)
	if err != nil {
		return nil
	}
	var found []cobra.Completion
	for _, p := range newLUNDoc(props, w.DrivePaths()).Plexes {
		found = append(found, cobra.CompletionWithDesc(p.ID.String(), driveText(p.Drives)))
	}
	return found
}

func driveNames(_ context.Context, w *world, _ []string) []cobra.Completion {
	return namesOf(w.Drives())
}

// foreignNames are the drives of other hosts.
func foreignNames(_ context.Context, w *world, _ []string) []cobra.Completion {
	return namesOf(slices.DeleteFunc(w.Drives(), func(d lun.Drive) bool { return !d.Foreign }))
}

func namesOf(drives []lun.Drive) []cobra.Completion {
	var found []cobra.Completion
	for _, d := range drives {
		found = append(found, cobra.CompletionWithDesc(d.Info.Path, d.Info.Size.String()))
	}
	return found
}

// operationNames are the running operations.
func operationNames(ctx context.Context, w *world, _ []string) []cobra.Completion {
	all, err := w.operations(ctx)
	if err != nil {
		return nil
	}
	var found []cobra.Completion
	for _, o := range all {
		if o.pending() {
			found = append(found, cobra.CompletionWithDesc(o.ID.String(), fmt.Sprintf("%s of %s", o.Type, o.LUN.Name)))
		}
	}
	return found
}
