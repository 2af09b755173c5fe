package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// completionTime bounds how long a shell waits for names after Tab.
const completionTime = 3 * time.Second

// complete offers names for the first most arguments of a command; for all of them when most is negative, for a flag when
// it is 0. Where the machine cannot be read, it offers nothing.
func (a *app) complete(most int, names func(context.Context, *world) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTime)
		defer cancel()
		var found []cobra.Completion
		err := a.with(ctx, func(ctx context.Context, w *world) error {
			found = names(ctx, w)
			return nil
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func lunNames(_ context.Context, w *world) []cobra.Completion {
	var names []cobra.Completion
	for _, l := range w.LUNs() {
		names = append(names, l.Name())
	}
	return names
}

func driveNames(_ context.Context, w *world) []cobra.Completion {
	var names []cobra.Completion
	for _, d := range w.Drives() {
		names = append(names, cobra.CompletionWithDesc(d.Info.Path, d.Info.Size.String()))
	}
	return names
}

// operationNames are the running operations.
func operationNames(ctx context.Context, w *world) []cobra.Completion {
	all, err := w.operations(ctx)
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	for _, o := range all {
		if o.pending() {
			names = append(names, cobra.CompletionWithDesc(o.ID.String(), fmt.Sprintf("%s of %s", o.Type, o.LUN.Name)))
		}
	}
	return names
}
