//go:build linux

// Package config reads plexctl's configuration file. It says which block devices plexctl reads: all of them without a file.
//
//	# a comment
//	only-device  PATTERN...   plexctl reads these devices only
//	never-device PATTERN...   and none of these
//
// A pattern is a path below /dev/ with the wildcards of a shell. It means devices by the kernel's names, and by links to them.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
)

// Path is where the file of a machine is.
const Path = "/etc/plexctl/plexctl.conf"

// The words of the file. The flags of the command line have the same names.
const (
	Only  = "only-device"
	Never = "never-device"
)

// Config is what a file says, or a command line.
type Config struct {
	Only  []string // patterns; empty: every device
	Never []string // patterns
}

// Read reads a file. Without it the Config is empty. An error names the file and the line.
func Read(path string) (Config, error) {
	var c Config
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if err := c.add(strings.Fields(line)); err != nil {
			return c, fmt.Errorf("%s: line %d: %w", path, n+1, err)
		}
	}
	return c, nil
}

// add takes the words of a line.
func (c *Config) add(words []string) error {
	if len(words) == 0 {
		return nil
	}
	into := map[string]*[]string{Only: &c.Only, Never: &c.Never}[words[0]]
	switch {
	case into == nil:
		return fmt.Errorf("%q is not known: a line begins with %s or %s", words[0], Only, Never)
	case len(words) == 1:
		return fmt.Errorf("%s without a pattern", words[0])
	}
	*into = append(*into, words[1:]...)
	return Check(words[1:])
}

// Check is why one of these is no pattern; nil when all are.
func Check(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := filepath.Match(pattern, ""); err != nil || !strings.HasPrefix(pattern, "/dev/") {
			return fmt.Errorf("%q is no pattern for paths below /dev/", pattern)
		}
	}
	return nil
}

// Empty reports whether c leaves out no device.
func (c Config) Empty() bool { return len(c.Only)+len(c.Never) == 0 }

// String is c as in a file, on one line.
func (c Config) String() string {
	var parts []string
	for _, part := range []struct {
		word     string
		patterns []string
	}{{Only, c.Only}, {Never, c.Never}} {
		if len(part.patterns) > 0 {
			parts = append(parts, part.word+" "+strings.Join(part.patterns, " "))
		}
	}
	return strings.Join(parts, "; ")
}

// LeaveOut returns a function that says why a device is left out; nil for one that is not. Links are those that are there now.
func (c Config) LeaveOut() func(blockdev.Info) error {
	only, never := resolve(c.Only), resolve(c.Never)
	return func(info blockdev.Info) error {
		switch {
		case matches(info, c.Never, never):
			return fmt.Errorf("%s leaves it out", Never)
		case len(c.Only) > 0 && !matches(info, c.Only, only):
			return fmt.Errorf("%s leaves it out", Only)
		}
		return nil
	}
}

// matches reports whether patterns mean a device. linked is the devices that they mean by links.
func matches(info blockdev.Info, patterns []string, linked []devno.No) bool {
	return slices.Contains(linked, info.Dev) || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := filepath.Match(pattern, info.Path) // see Check
		return ok
	})
}

// resolve is the block devices whose nodes, or links to them, match patterns.
func resolve(patterns []string) []devno.No {
	var devs []devno.No
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(pattern) // see Check
		for _, path := range paths {
			var st unix.Stat_t
			if unix.Stat(path, &st) != nil {
				continue
			}
			if dev, ok := devno.FromStat(&st); ok {
				devs = append(devs, dev)
			}
		}
	}
	return devs
}
