package vm

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// LoadModule loads a module of the guest and all it needs; line is "name" or "name param=value …". It is no error if it
// is loaded already, or built into the kernel; its parameters then have no effect.
func LoadModule(line string) error {
	config, err := readConfig()
	if err != nil {
		return err
	}
	return loadLine(config.Modules, line)
}

// modprobeMain is what the kernel runs to get a module: modprobe -q -- NAME.
func modprobeMain(args []string) int {
	args = slices.DeleteFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	config, err := readConfig()
	if err != nil {
		return 1
	}
	found := false
	for _, m := range config.Modules {
		if len(args) == 0 || !m.answers(moduleName(args[0])) {
			continue
		}
		found = true
		if err := load(config.Modules, m.Name, strings.Join(args[1:], " ")); err != nil {
			fmt.Fprintln(os.Stderr, "modprobe:", err)
			return 1
		}
	}
	if !found {
		return 1
	}
	return 0
}

// answers reports whether m is what the kernel asks for under the given name.
func (m module) answers(name string) bool {
	return m.Name == name || slices.ContainsFunc(m.Aliases, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// loadLine is LoadModule with the modules at hand.
func loadLine(modules []module, line string) error {
	name, params, _ := strings.Cut(line, " ")
	return load(modules, moduleName(name), params)
}

// load loads the named module after all it needs.
func load(modules []module, name, params string) error {
	i := slices.IndexFunc(modules, func(m module) bool { return m.Name == name })
	if i < 0 {
		return nil // built in: the host checked that the kernel has it
	}
	for _, need := range modules[i].Needs {
		if err := load(modules, need, ""); err != nil {
			return err
		}
	}
	f, err := os.Open(modules[i].File)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), params, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}
