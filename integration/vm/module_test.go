package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestClosureOrder(t *testing.T) {
	for _, series := range []string{"6.1", "6.12"} {
		t.Run(series, func(t *testing.T) {
			kernel, err := FindKernel(t.Context(), series)
			if err != nil {
				t.Fatal(err)
			}
			modules, err := closure(kernel, append(bootModules(), extraModules()...))
			if err != nil {
				t.Fatal(err)
			}
			loaded := map[string]bool{}
			for _, m := range modules {
				for _, need := range m.Needs {
					if !loaded[need] && !builtIn(t, kernel, need) {
						t.Errorf("%s comes before %s, which it needs", m.Name, need)
					}
				}
				if loaded[m.Name] {
					t.Errorf("%s comes twice", m.Name)
				}
				loaded[m.Name] = true
			}
			for _, name := range []string{"dm_mod", "dm_raid", "raid1", "md_mod", "loop", "dm_delay"} {
				if !loaded[name] {
					t.Errorf("no module %s", name)
				}
			}
		})
	}
}

// builtIn reports whether a module is part of the kernel's image.
func builtIn(t *testing.T, kernel Kernel, name string) bool {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(kernel.Modules, "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(moduleName(string(list)), "/"+name+".ko\n")
}

func TestClosureRefuses(t *testing.T) {
	empty := Kernel{Series: "empty", Modules: t.TempDir()}
	if _, err := closure(empty, []string{"loop"}); err == nil {
		t.Error("a kernel without modules.builtin was taken")
	}
	for name, content := range map[string]string{"modules.builtin": "kernel/fs/ext4/ext4.ko\n", "broken.ko": "not ELF"} {
		if err := os.WriteFile(filepath.Join(empty.Modules, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if modules, err := closure(empty, []string{"ext4"}); err != nil || len(modules) != 0 {
		t.Errorf("closure of a module that is built in = %v, %v, want nothing", modules, err)
	}
	for _, name := range []string{"broken", "loop"} {
		if _, err := closure(empty, []string{"ext4", name}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("closure of %s: %v, want an error that names it", name, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	m := module{Name: "dm_raid", Aliases: []string{"dm_raid1", "fs_*", "virtio:d0000000[12]v*", "broken["}}
	names := []string{"dm_raid", "dm_raid1", "fs_xfs", "virtio:d00000002v00001AF4", "dm_raid2", "raid", "virtio:d00000003v0", "broken["}
	var got []string
	for _, name := range names {
		if m.answers(name) {
			got = append(got, name)
		}
	}
	if want := names[:4]; !slices.Equal(got, want) {
		t.Errorf("answers to %q, want %q", got, want)
	}
}
