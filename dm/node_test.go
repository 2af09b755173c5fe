//go:build linux

package dm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMisc(t *testing.T) {
	tests := []struct {
		name, table string
		want        uint32
	}{
		{"static", "237 loop-control\n236 device-mapper\n234 btrfs-control\n", 236},
		{"dynamic", " 61 device-mapper\n", 61},
		{"no end of line", "62 device-mapper", 62},
		{"not loaded", "237 loop-control\n", 236},
		{"empty", "", 236},
		{"no number", "x device-mapper\n", 236},
		{"negative", "-1 device-mapper\n", 236},
		{"too large for a minor", "1048576 device-mapper\n", 236},
		{"another name", "61 device-mapper-x\n", 236},
		{"too many fields", "61 device-mapper x\n", 236},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseMisc(tt.table); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestOpenControl(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control")
	write(t, path, "")
	f, err := openControl(path, filepath.Join(dir, "misc"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenControlRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	socket := filepath.Join(dir, "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		want       error
	}{
		{"no place for the node", filepath.Join(dir, "file", "mapper", "control"), unix.ENOTDIR},
		{"nobody behind the node", socket, ErrNotSupported}, // opening a socket is ENXIO, as of a node without driver
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := openControl(tt.path, filepath.Join(dir, "misc"))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v; want %v", f, err, tt.want)
			}
		})
	}
}

func TestPrivilege(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{unix.EACCES, "permission denied: needs root (CAP_SYS_ADMIN)"},
		{unix.EPERM, "operation not permitted: needs root (CAP_SYS_ADMIN)"},
		{&fs.PathError{Op: "mkdir", Path: "/dev/mapper", Err: unix.EACCES}, "mkdir /dev/mapper: permission denied: needs root (CAP_SYS_ADMIN)"},
		{unix.EINVAL, "invalid argument"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			got := privilege(tt.err)
			if got.Error() != tt.want {
				t.Errorf("got %v", got)
			}
			if !errors.Is(got, tt.err) {
				t.Errorf("%v lost its cause", got)
			}
		})
	}
}

func TestLibraryErrno(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: controlPath, Err: unix.ENOENT}
	tests := []struct {
		name      string
		err, want error
	}{
		{"of an ioctl", os.NewSyscallError("dm ioctl (cmd=0xc138fd09)", unix.EINVAL), unix.EINVAL},
		{"of opening the node", missing, missing},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := libraryErrno(tt.err); got != tt.want { //nolint:errorlint // the cause itself is asked for
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
