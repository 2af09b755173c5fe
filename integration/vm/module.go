package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// module is a kernel module of the guest.
type module struct {
	Name    string   // as the kernel spells it: dm_raid
	File    string   // its path, on the host or in the guest
	Needs   []string // modules that must be loaded before it
	Aliases []string // patterns under which the kernel asks for it
}

// needs reports whether m needs the named one of modules, itself or through another.
func (m module) needs(name string, modules []module) bool {
	return slices.Contains(m.Needs, name) || slices.ContainsFunc(modules, func(between module) bool {
		return slices.Contains(m.Needs, between.Name) && between.needs(name, modules)
	})
}

// bootModules are loaded in every machine before anything runs: what the machine itself needs, then what every test of
// a mirror needs.
func bootModules() []string {
	return []string{"virtio_pci", "virtio_console", "virtio_blk", "dm-mod", "raid1", "dm-raid", "loop"}
}

// extraModules are in every guest for the kernel, or a test, to ask for.
func extraModules() []string {
	return []string{
		"dm-mirror", "dm-flakey", "dm-delay", "dm-multipath", "dm-round-robin", "dm-log-writes", "dm-zero", "dm-snapshot", "dm-thin-pool", "dm-crypt",
		"brd", "null_blk", "scsi_debug", "sd_mod", "nbd", "xfs", "btrfs", "xts", "ecb", "aes_generic",
	}
}

// moduleName is name as the kernel spells it.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// closure is the named modules of the kernel and all they need, each after what it needs. Modules that are built into
// the kernel are left out; one that the kernel does not have is an error.
func closure(k Kernel, names []string) ([]module, error) {
	files, err := moduleFiles(k.Modules)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Series, err)
	}
	r := resolver{files: files, seen: map[string]bool{}}
	for _, name := range names {
		if err := r.add(moduleName(name)); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Series, err)
		}
	}
	return r.order, nil
}

// resolver puts modules in an order in which they can be loaded.
type resolver struct {
	files map[string]string // see moduleFiles
	seen  map[string]bool
	order []module
}

// add puts the named module into the order, after all it needs.
func (r *resolver) add(name string) error {
	file, ok := r.files[name]
	if !ok {
		return fmt.Errorf("no module %s", name)
	}
	if r.seen[name] || file == "" {
		return nil
	}
	r.seen[name] = true
	m, err := readModule(name, file)
	if err != nil {
		return err
	}
	for _, need := range m.Needs {
		if err := r.add(need); err != nil {
			return err
		}
	}
	r.order = append(r.order, m)
	return nil
}

// moduleFiles finds every module below dir: its name to its file, or to "" where it is built into the kernel.
func moduleFiles(dir string) (map[string]string, error) {
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for line := range strings.FieldsSeq(string(builtin)) {
		files[moduleName(strings.TrimSuffix(filepath.Base(line), ".ko"))] = ""
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		return err
	})
	return files, err
}

// readModule reads what a module says about itself in its section .modinfo. Debian's packages carry no modules.dep, and
// this is what depmod would make it from.
func readModule(name, file string) (module, error) {
	f, err := elf.Open(file)
	if err != nil {
		return module{}, fmt.Errorf("module %s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	section := f.Section(".modinfo")
	if section == nil {
		return module{}, fmt.Errorf("module %s: no section .modinfo", file)
	}
	info, err := section.Data()
	if err != nil {
		return module{}, fmt.Errorf("module %s: %w", file, err)
	}
	m := module{Name: name, File: file}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		switch key, value, _ := strings.Cut(string(field), "="); key {
		case "depends":
			m.Needs = strings.FieldsFunc(moduleName(value), func(r rune) bool { return r == ',' })
		case "alias":
			m.Aliases = append(m.Aliases, moduleName(value))
		}
	}
	return m, nil
}
