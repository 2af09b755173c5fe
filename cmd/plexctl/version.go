package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is linked: -ldflags "-X main.version=v1.2.3". Else it is what the Go tool recorded.
var version string

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Show the version of plexctl",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			return a.printVersion(newVersionDocument(version, info))
		},
	}
}

// newVersionDocument is what linked, the version a release was linked with, and info say.
func newVersionDocument(linked string, info *debug.BuildInfo) versionDocument {
	doc := versionDocument{
		header: newHeader(), Version: linked, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if doc.Version == "" {
		doc.Version = info.Main.Version
	}
	if doc.Version == "" {
		doc.Version = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			doc.Commit = s.Value
		}
	}
	return doc
}

func (a *app) printVersion(doc versionDocument) error {
	return a.print(doc, func(w io.Writer) error {
		commit := ""
		if doc.Commit != "" {
			commit = "commit " + doc.Commit + ", "
		}
		_, err := fmt.Fprintf(w, "plexctl %s (%s%s, %s)\n", doc.Version, commit, doc.Go, doc.Platform)
		return err
	})
}
