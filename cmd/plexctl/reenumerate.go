package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newRefresh(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Read all drives anew, and say what is wrong with them",
		Long: "Refresh reads the labels and catalogs of all drives anew and changes nothing. It says what is wrong with them;\n" +
			"`plexctl reenumerate` puts right what can be.",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return refresh(ctx, a, w) })
		},
	}
}

func refresh(ctx context.Context, a *app, w *world) error {
	if err := w.Refresh(ctx); err != nil {
		return err
	}
	doc := refreshDocument{header: newHeader(), DriveCount: len(w.Drives()), LUNCount: len(w.LUNs()), Problems: []errorDoc{}}
	for _, problem := range w.Problems() {
		doc.Problems = append(doc.Problems, newErrorDoc(problem))
	}
	return a.print(doc, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "drives: %d\nLUNs:   %d\n", doc.DriveCount, doc.LUNCount)
		printProblems(out, "", doc.Problems)
		return err
	})
}

func newReenumerate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reenumerate",
		Short: "Look for new drives, and bring catalogs and kernel to agree",
		Long: "Reenumerate looks for drives anew, brings the catalogs of all drives to agree, and brings the kernel's devices of\n" +
			"every active LUN to what its record says. It is what to run after VDS_E_PROVIDER_CACHE_CORRUPT. LUNs that are not\n" +
			"active stay so; `plexctl assemble` activates them.",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return reenumerate(ctx, a, w) })
}

func reenumerate(ctx context.Context, a *app, w *world) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	results, err := w.Reenumerate(ctx)
	return func(context.Context) error { return a.printResults(results, nil, "as recorded", err) }, errors.Join(err, refusals(results))
}
