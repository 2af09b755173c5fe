package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// blkErrors is the errno of every status with which the block layer ends I/O (block/blk-core.c, blk_errors).
var blkErrors = map[string]unix.Errno{
	"NOTSUPP": unix.EOPNOTSUPP, "TIMEOUT": unix.ETIMEDOUT, "NOSPC": unix.ENOSPC, "TRANSPORT": unix.ENOLINK, "TARGET": unix.EREMOTEIO,
	"RESV_CONFLICT": unix.EBADE, "MEDIUM": unix.ENODATA, "PROTECTION": unix.EILSEQ, "RESOURCE": unix.ENOMEM, "DEV_RESOURCE": unix.EBUSY,
	"AGAIN": unix.EAGAIN, "OFFLINE": unix.ENODEV, "DM_REQUEUE": unix.EREMCHG, "ZONE_OPEN": unix.ETOOMANYREFS, "ZONE_ACTIVE": unix.EOVERFLOW,
	"DURATION_LIMIT": unix.ETIME, "IOERR": unix.EIO,
}

func TestEveryErrorOfTheBlockLayerHasACode(t *testing.T) {
	others := map[string]vds.Code{
		"NOTSUPP": vds.ErrNotSupported, "NOSPC": vds.ErrNotEnoughSpace, "RESOURCE": vds.ErrOutOfMemory, "AGAIN": vds.ErrOutOfMemory,
		"DEV_RESOURCE": vds.ErrDeviceInUse,
	}
	for name, errno := range blkErrors {
		want, other := others[name]
		if !other {
			want = vds.ErrIO
		}
		err := &fs.PathError{Op: "read", Path: "/dev/sda", Err: errno}
		if got := Code(fmt.Errorf("read label: %w", err)); got != want {
			t.Errorf("%s (%v): %v, want %v", name, errno, got, want)
		}
	}
}

func TestCode(t *testing.T) {
	load := func(log string) error {
		return &dm.Error{Op: "load table of", Device: "plex-a", Err: unix.EINVAL, KernelLog: log}
	}
	tests := []struct {
		name string
		err  error
		want vds.Code
		hint string
	}{
		{"a deadline", context.DeadlineExceeded, vds.ErrTimeout, ""},
		{"an interrupt", context.Canceled, vds.ErrAbort, ""},
		{"a pulled drive", unix.ENXIO, vds.ErrIO, ""},
		{"no such device of device-mapper", &dm.Error{Op: "status of", Err: unix.ENXIO}, vds.ErrObjectNotFound, ""},
		{"a pulled drive in a table", &dm.Error{Op: "load table of", Err: unix.ENXIO, InTable: true}, vds.ErrIO, ""},
		{"no such device", blockdev.ErrNotExist, vds.ErrObjectNotFound, ""},
		{"too many open files", unix.EMFILE, vds.ErrOutOfMemory, "ulimit -n"},
		{"too many open files of the machine", unix.ENFILE, vds.ErrOutOfMemory, "ulimit -n"},
		{"reserved", unix.EBADE, vds.ErrIO, "another host"},
		{"a table that the kernel refuses", load("device-mapper: table: 254:3: raid: Bad number of raid devices"), vds.ErrProviderFailure, ""},
		{"no raid target", load("device-mapper: table: 254:3: raid: unknown target type"), vds.ErrNotSupported, "`modprobe dm-raid`"},
		{"no raid1", load("md: personality for level 1 is not loaded!"), vds.ErrNotSupported, "`modprobe raid1`"},
		{"a dry run without the raid target", &dm.Error{Op: "find target", Device: "raid", Err: dm.ErrNotSupported}, vds.ErrNotSupported, "`modprobe dm-raid`"},
		{"a conflict", fmt.Errorf("x: %w", catalog.ErrConflict), vds.ErrDiskConfigurationNotSync, ""},
		{"a damaged label", fmt.Errorf("x: %w", catalog.ErrCorrupt), vds.ErrDiskConfigurationCorrupt, ""},
		{"a catalog that cannot be read", fmt.Errorf("x: %w: %w", catalog.ErrCorrupt, unix.EIO), vds.ErrIO, ""},
		{"anything else", errors.New("x"), vds.ErrProviderFailure, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Of("read", "/dev/sda", tt.err)
			if got := vds.CodeOf(err); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if hint := vds.HintOf(err); !strings.Contains(hint, tt.hint) || tt.hint == "" && hint != "" {
				t.Errorf("hint %q, want %q", hint, tt.hint)
			}
		})
	}
}

func TestRootIsNotToldToBecomeRoot(t *testing.T) {
	for _, err := range []error{unix.EPERM, unix.EACCES, os.ErrPermission} {
		if hint := hintFor(codeFor(err), err, false); hint != "run plexctl as root" {
			t.Errorf("%v of a user: %q", err, hint)
		}
		if hint := hintFor(codeFor(err), err, true); !strings.HasPrefix(hint, "plexctl runs as root, so") {
			t.Errorf("%v of root: %q", err, hint)
		}
	}
}
