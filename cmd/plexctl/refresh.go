package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newRefresh(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Read all drives anew, and say what is wrong with them",
		Long: "Refresh reads the labels and catalogs of all drives anew and changes nothing. It says what is wrong with them;\n" +
			"`plexctl reenumerate` puts right what can be.",
	}
	return reading(c, cmd, &noOptions{}, refresh)
}

func refresh(ctx context.Context, s *session, _ noOptions) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	doc := refreshDocument{len(s.Drives()), len(s.LUNs()), listOf(s.Problems(), newErrorDoc)}
	all, err := s.Survey(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Orphan {
			problem := newErrorDoc(p.Problem)
			problem.Message = p.Name + ": " + problem.Message
			doc.Problems = append(doc.Problems, problem)
		}
	}
	return s.print(doc, fmt.Sprintf("drives: %d\nLUNs:   %d\n", doc.DriveCount, doc.LUNCount)+problemText("", doc.Problems))
}

func newReenumerate(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reenumerate",
		Short: "Look for new drives, and bring catalogs and kernel to agree",
		Long: "Reenumerate looks for drives anew and brings their catalogs to agree. Then it brings the kernel's devices of every\n" +
			"active LUN to what its record says, and tells which it has corrected. It is what to run after a drive has come back\n" +
			"under another number, and after VDS_E_PROVIDER_CACHE_CORRUPT. LUNs that are not active stay so; `plexctl assemble`\n" +
			"activates them.",
	}
	return changing(c, cmd, &noOptions{}, reenumerate)
}

func reenumerate(ctx context.Context, s *session, _ noOptions) (outcome, error) {
	results, err := s.Reenumerate(ctx)
	return s.each(results, nil, "as recorded", err)
}
