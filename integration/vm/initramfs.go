package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"github.com/u-root/u-root/pkg/ldd"
)

// Places in the guest.
const (
	initFile   = "/init"
	configFile = "/plexctl-vm.json"
	moduleDir  = "/usr/lib/modules"
)

// guestConfig is what the host tells the first process.
type guestConfig struct {
	Load     []string // modules to load, as in Machine.Modules
	Modules  []module // all there are
	Udev     bool
	Terminal bool
	Dir      string
	Env      []string
	Args     []string // the command
}

// initramfs collects the files of a guest. /bin, /sbin, /lib and /lib64 are links into /usr, as on any Debian today.
type initramfs struct {
	files map[string]cpio.Record // by path in the guest, without the leading slash
}

// writeInitramfs writes the guest of m to w. It is not compressed: unpacking costs an emulated guest more than reading.
func writeInitramfs(ctx context.Context, w io.Writer, m *Machine, args []string) error {
	load := append(bootModules(), m.Modules...)
	modules, err := closure(m.Kernel, slices.Concat(load, extraModules()))
	if err != nil {
		return err
	}
	a := initramfs{files: map[string]cpio.Record{}}
	a.skeleton(m.Dir)
	err = errors.Join(
		a.addProgram(m.Init, initFile),
		a.addModules(m.Kernel.Release, modules),
		a.addTools(m.Tools),
		a.addFiles(m.Files),
	)
	if m.Udev {
		err = errors.Join(err, a.addUdev())
	}
	config := guestConfig{Load: load, Modules: modules, Udev: m.Udev, Terminal: m.Terminal, Dir: m.Dir, Env: m.Env, Args: args}
	err = errors.Join(err, a.addBusybox(ctx, m.Kernel.Release, modules), a.addConfig(config))
	if err != nil {
		return err
	}
	return a.write(w)
}

// skeleton adds what every guest has, and the folder that its command works in.
func (a *initramfs) skeleton(workDir string) {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		a.put(cpio.Directory("usr/"+dir, 0o755))
		a.put(cpio.Symlink(dir, "usr/"+dir))
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "mnt", "var/lib", "etc"} {
		a.put(cpio.Directory(dir, 0o755))
	}
	a.put(cpio.Directory(workDir, 0o755))
	a.put(cpio.CharDev("dev/console", 0o600, 5, 1))
	a.put(cpio.Symlink("sbin/modprobe", initFile))
	a.put(cpio.StaticFile("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644))
	a.put(cpio.StaticFile("etc/group", groups, 0o644))
	a.put(cpio.Symlink("etc/mtab", "/proc/mounts"))
}

// groups are those that udev's rules name.
const groups = `root:x:0:
tty:x:5:
disk:x:6:
lp:x:7:
dialout:x:20:
cdrom:x:24:
tape:x:26:
audio:x:29:
video:x:44:
input:x:101:
kvm:x:102:
render:x:103:
sgx:x:104:
`

// put adds a record, where the links of the skeleton lead, and the folders above it.
func (a *initramfs) put(r cpio.Record) {
	r.Name = strings.TrimPrefix(path.Clean("/"+r.Name), "/")
	switch top, _, below := strings.Cut(r.Name, "/"); top {
	case "bin", "sbin", "lib", "lib64":
		if below {
			r.Name = "usr/" + r.Name
		}
	}
	a.files[r.Name] = r
	if dir := path.Dir(r.Name); dir != "." && !a.has(dir) {
		a.put(cpio.Directory(dir, 0o755))
	}
}

// addFile adds the host's regular file under the given name in the guest; links are followed.
func (a *initramfs) addFile(host, guest string) error {
	info, err := os.Stat(host)
	if err != nil {
		return fmt.Errorf("copy %s: %w", host, err)
	}
	content, err := os.ReadFile(host)
	if err != nil {
		return fmt.Errorf("copy %s: %w", host, err)
	}
	a.put(cpio.StaticFile(guest, string(content), uint64(info.Mode().Perm())))
	return nil
}

// addProgram adds a file of the host and the shared libraries it needs, if it is a program that needs any.
func (a *initramfs) addProgram(host, guest string) error {
	if err := a.addFile(host, guest); err != nil {
		return err
	}
	libraries, err := ldd.List(host)
	if err != nil {
		return fmt.Errorf("copy libraries of %s: %w", host, err)
	}
	for _, library := range libraries {
		if err := a.addFile(library, library); err != nil {
			return err
		}
	}
	return nil
}

// addTools adds commands of the host at the path where the host has them.
func (a *initramfs) addTools(tools []string) error {
	for _, tool := range tools {
		host, err := lookTool(tool)
		if err != nil {
			return err
		}
		if err := a.addProgram(host, host); err != nil {
			return err
		}
	}
	return nil
}

// lookTool finds a command of the host, in the folders of the administrator too.
func lookTool(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin", "/usr/bin"} {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("copy tool %s: %w", name, exec.ErrNotFound)
}

// addFiles adds Machine.Files.
func (a *initramfs) addFiles(files map[string]string) error {
	for guest, host := range files {
		err := filepath.WalkDir(host, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return a.addProgram(file, guest+strings.TrimPrefix(file, host))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addModules adds kernel modules and makes modules name them by their path in the guest.
func (a *initramfs) addModules(release string, modules []module) error {
	for i := range modules {
		guest := path.Join(moduleDir, release, modules[i].Name+".ko")
		if err := a.addFile(modules[i].File, guest); err != nil {
			return err
		}
		modules[i].File = guest
	}
	return nil
}

// addUdev adds systemd-udevd, its rules and the programs that they run.
func (a *initramfs) addUdev() error {
	if err := a.addTools([]string{"udevadm", "dmsetup"}); err != nil {
		return err
	}
	const rules = "/usr/lib/udev/rules.d"
	return errors.Join(
		a.addProgram("/usr/bin/udevadm", udevd),
		a.addFiles(map[string]string{rules: rules}),
	)
}

// addBusybox gives the guest, where busybox is among its tools, a link for each applet that it has no command for. The kernel
// runs its modprobe then, which takes a tenth of the time: with every table of a mirror the kernel asks for a module.
func (a *initramfs) addBusybox(ctx context.Context, release string, modules []module) error {
	const busybox = "/usr/bin/busybox"
	if _, ok := a.files[busybox[1:]]; !ok {
		return nil
	}
	applets, err := run(ctx, "", busybox, "--list")
	if err != nil {
		return err
	}
	for applet := range strings.FieldsSeq(applets) {
		if applet == "modprobe" {
			a.put(cpio.Symlink("sbin/modprobe", busybox))
			a.addIndex(release, modules)
		} else if !a.has("usr/bin/"+applet) && !a.has("usr/sbin/"+applet) {
			a.put(cpio.Symlink("usr/bin/"+applet, busybox))
		}
	}
	return nil
}

// addIndex adds what modprobe reads: what each module needs, the nearest first, and its aliases.
func (a *initramfs) addIndex(release string, modules []module) {
	var needs, aliases strings.Builder
	for _, m := range modules {
		fmt.Fprintf(&needs, "%s.ko:", m.Name)
		for _, need := range slices.Backward(modules) {
			if m.needs(need.Name, modules) {
				fmt.Fprintf(&needs, " %s.ko", need.Name)
			}
		}
		needs.WriteString("\n")
		for _, alias := range m.Aliases {
			fmt.Fprintf(&aliases, "alias %s %s\n", alias, m.Name)
		}
	}
	a.put(cpio.StaticFile(path.Join(moduleDir, release, "modules.dep"), needs.String(), 0o644))
	a.put(cpio.StaticFile(path.Join(moduleDir, release, "modules.alias"), aliases.String(), 0o644))
}

// has reports whether the guest has a file.
func (a *initramfs) has(name string) bool {
	_, ok := a.files[name]
	return ok
}

// addConfig adds what the first process reads.
func (a *initramfs) addConfig(config guestConfig) error {
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode %s: %w", configFile, err)
	}
	a.put(cpio.StaticFile(configFile, string(text), 0o644))
	return nil
}

// write writes all records, sorted by name: every folder before what is in it.
func (a *initramfs) write(w io.Writer) error {
	out := cpio.Newc.Writer(w)
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		if err := out.WriteRecord(a.files[name]); err != nil {
			return fmt.Errorf("write initramfs: %s: %w", name, err)
		}
	}
	return cpio.WriteTrailer(out)
}
