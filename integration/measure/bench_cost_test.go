package measure

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/u-root/u-root/pkg/ldd"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// versionOf finds the version in what a program says of itself.
var versionOf = regexp.MustCompile(`(?m)^(?: *LVM version:|plexctl|mdadm - v|QEMU emulator version) *(\S+)`)

// startCommands are the commands that do next to nothing, whose time is that of the start.
func startCommands() []manyCommand {
	return []manyCommand{
		{"start", "plexctl", []string{"plexctl", "version"}},
		{"start", "lvm2", []string{"lvm", "version"}},
		{"start", "mdadm", []string{"mdadm", "--version"}},
		{"start", "dmsetup", []string{"dmsetup", "--version"}},
	}
}

// costs measures how long the programs take to start, and how much memory mdadm takes to show one array. That of the others is
// measured with many volumes.
func (b *bench) costs() {
	for round := range b.rounds {
		for _, c := range startCommands() {
			const times = 5
			took := timed(func() {
				for range times {
					_, _ = lab.TryTool(b.t, c.line[0], c.line[1:]...) // dmsetup minds that it has nothing to say to the kernel
				}
			})
			b.tellTime(figure{Figure: "start", Case: "version", Subject: c.subject, Round: round}, took/times)
		}
	}
	m := b.mdadmUsual()
	b.blank()
	m.create(b.length)
	defer m.remove()
	b.tellMemory("mdadm --detail, 1 array", "mdadm", []string{"mdadm", "--detail", "/dev/md0"})
}

// hostFigures are the sizes of the programs with the libraries that they need, and what the figures were measured with.
func hostFigures(t *testing.T, kernel string) []figure {
	t.Helper()
	accelerator, err := vm.Accelerator()
	lab.Must(t, err)
	figures := []figure{{Figure: "fact", Subject: "two virtual processors, 2 GiB,", Text: "accelerator " + accelerator}}
	for _, program := range []struct{ subject, command, version string }{
		{"plexctl", os.Getenv(lab.CommandVar), "version"},
		{"lvm2", "/usr/sbin/lvm", "version"},
		{"mdadm", "/usr/sbin/mdadm", "--version"},
		{"QEMU", "/usr/bin/qemu-system-x86_64", "--version"},
	} {
		out, _ := exec.Command(program.command, program.version).CombinedOutput() // lvm2 minds a host without device-mapper
		figures = append(figures, figure{Figure: "fact", Subject: program.subject, Text: string(versionOf.FindSubmatch(out)[1])})
		if program.subject != "QEMU" {
			figures = append(figures, sizesOf(t, program.subject, program.command)...)
		}
	}
	for i := range figures {
		figures[i].Kernel = kernel
	}
	return figures
}

// sizesOf are the sizes of a program and of it together with its libraries.
func sizesOf(t *testing.T, subject, command string) []figure {
	t.Helper()
	libraries, err := ldd.List(command)
	lab.Must(t, err)
	total := fileLength(t, command)
	program := figure{Figure: "size", Case: "program", Subject: subject, Unit: "MiB", Value: float64(total) / float64(size.MiB)}
	for _, library := range libraries {
		if info, err := os.Lstat(library); err == nil && info.Mode().IsRegular() && library != command {
			total += fileLength(t, library)
		}
	}
	return []figure{program, {Figure: "size", Case: "with its libraries", Subject: subject, Unit: "MiB", Value: float64(total) / float64(size.MiB)}}
}

func fileLength(t *testing.T, name string) size.Bytes {
	t.Helper()
	info, err := os.Stat(name)
	lab.Must(t, err)
	return size.Bytes(info.Size())
}
