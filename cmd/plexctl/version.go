package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is linked: -ldflags "-X main.version=v1.2.3". Else it is what the Go tool recorded.
var version string

func newVersion(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Show the version of plexctl"}
	c.takes(cmd)
	cmd.RunE = func(*cobra.Command, []string) error { return showVersion(c.printer()) }
	return cmd
}

// versionFlag makes --version without a command do what the version command does.
func versionFlag(root *cobra.Command, c *cli) {
	wanted := root.Flags().Bool("version", false, "show the version of plexctl")
	otherwise := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *wanted {
			return showVersion(c.printer())
		}
		return otherwise(cmd, args)
	}
}

func showVersion(p printer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	doc := newVersionDocument(version, info)
	commit := ""
	if doc.Commit != "" {
		commit = "commit " + doc.Commit + ", "
	}
	return p.print(doc, fmt.Sprintf("plexctl %s (%s%s, %s)\n", doc.Version, commit, doc.Go, doc.Platform))
}

// newVersionDocument takes the version from linked, which a release is linked with, or else from info.
func newVersionDocument(linked string, info *debug.BuildInfo) versionDocument {
	doc := versionDocument{
		Version: cmp.Or(linked, info.Main.Version, "(devel)"),
		Go:      runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			doc.Commit = s.Value
		}
	}
	return doc
}
