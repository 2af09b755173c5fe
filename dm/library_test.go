//go:build linux && (amd64 || arm64)

// These are the machines on which the tests run natively. The emulators that run them for others have no ptrace.

package dm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/anatol/devmapper.go"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

// libraryCall is a call of devmapper.go beside the request that this package has, or would have, for the same purpose.
type libraryCall struct {
	name    string
	library func() error
	own     request
	serves  bool   // dm uses it
	differs string // what the kernel is sent that dm's request does not have, or the other way round; empty: nothing
}

// The device of the calls, and its table.
const (
	tracedName = "plex-web1:3f2a9c01:data"
	tracedUUID = "PLEX-405f4a03-be13-456f-9756-dbdf5ea0bd1a"
)

var tracedTable = Table{
	{0, 2048, Linear{Dev: devno.No{Major: 8, Minor: 16}, Offset: 4096}},
	{2048, 8, Linear{Dev: devno.No{Major: 253, Minor: 300}}},
}

// libraryCalls are the rows of the table in docs/devmapper.md for which the library has a call that works.
var libraryCalls = []libraryCall{
	{
		name:    "version",
		library: func() error { _, _, _, err := devmapper.GetVersion(); return err },
		own:     request{command: unix.DM_VERSION},
		serves:  true,
	},
	{
		name:    "remove",
		library: func() error { return devmapper.Remove(tracedName) },
		own:     request{command: unix.DM_DEV_REMOVE, name: tracedName, event: udevPrimary},
		serves:  true,
	},
	{
		name:    "suspend and freeze",
		library: func() error { return devmapper.Suspend(tracedName) },
		own:     request{command: unix.DM_DEV_SUSPEND, name: tracedName, flags: unix.DM_SUSPEND_FLAG},
		serves:  true,
	},
	{
		name:    "suspend",
		library: func() error { return devmapper.Suspend(tracedName) },
		own:     request{command: unix.DM_DEV_SUSPEND, name: tracedName, flags: unix.DM_SUSPEND_FLAG | unix.DM_SKIP_LOCKFS_FLAG},
		differs: "flags 0x2, own 0x402",
	},
	{
		name:    "create",
		library: func() error { return devmapper.Create(tracedName, tracedUUID) },
		own:     request{command: unix.DM_DEV_CREATE, name: tracedName, uuid: tracedUUID},
	},
	{
		name: "load",
		library: func() error {
			return devmapper.Load(tracedName, 0,
				devmapper.LinearTable{Length: 2048 * devmapper.SectorSize, BackendDevice: "8:16", BackendOffset: 4096 * devmapper.SectorSize},
				devmapper.LinearTable{Start: 2048 * devmapper.SectorSize, Length: 8 * devmapper.SectorSize, BackendDevice: "253:300"},
			)
		},
		own: request{command: unix.DM_TABLE_LOAD, name: tracedName, targets: 2, payload: encodeTable(tracedTable)},
	},
	{
		name:    "resume a public device",
		library: func() error { return devmapper.Resume(tracedName) },
		own:     request{command: unix.DM_DEV_SUSPEND, name: tracedName, flags: unix.DM_SKIP_LOCKFS_FLAG, event: Public.udevFlags()},
		differs: "flags 0x0, own 0x400",
	},
	{
		name:    "resume a private device",
		library: func() error { return devmapper.Resume(tracedName) },
		own:     request{command: unix.DM_DEV_SUSPEND, name: tracedName, flags: unix.DM_SKIP_LOCKFS_FLAG, event: Private.udevFlags()},
		differs: "flags 0x0, own 0x400; event 0x400000, own 0x4e0000",
	},
	{
		name:    "info",
		library: func() error { _, err := devmapper.InfoByName(tracedName); return err },
		own:     request{command: unix.DM_DEV_STATUS, name: tracedName},
	},
	{
		name:    "list",
		library: func() error { _, err := devmapper.List(); return err },
		own:     request{command: unix.DM_LIST_DEVICES, flags: unix.DM_UUID_FLAG, room: firstRoom},
		differs: "flags 0x0, own 0x4000; 4096 bytes, own 16696",
	},
}

// TestLibraryRequests compares what devmapper.go sends to the kernel with this package's own requests, byte for byte, and
// counts the system calls of both. Where they differ, the library must not be used; docs/devmapper.md says what follows
// from it, and is to be read again when this test fails after an update of the library.
func TestLibraryRequests(t *testing.T) {
	calls := libraryCalls
	seen := traceCalls(t)
	if len(seen) != 2*len(calls) {
		t.Fatalf("%d calls were seen, want %d", len(seen), 2*len(calls))
	}
	for i, tt := range calls {
		t.Run(tt.name, func(t *testing.T) {
			library, own := seen[2*i], seen[2*i+1]
			if library.command != tt.own.command || own.command != tt.own.command {
				t.Fatalf("commands %#x and %#x, want %#x", library.command, own.command, tt.own.command)
			}
			if diff := cmp.Diff(tt.own.encode(), own.bytes); diff != "" {
				t.Errorf("own request (-want +got):\n%s", diff)
			}
			if got := difference(library.bytes, own.bytes); got != tt.differs {
				t.Errorf("differs in %q, want %q", got, tt.differs)
			}
			if tt.serves && tt.differs != "" {
				t.Error("is used though it differs")
			}
			if own.systemCalls != 1 || library.systemCalls < 2 {
				t.Errorf("%d system calls, own %d; want 1, and more than that: does the library keep the node open now?", library.systemCalls, own.systemCalls)
			}
			t.Logf("%d system calls, own %d", library.systemCalls, own.systemCalls)
		})
	}
}

// difference says in which fields of the header two requests differ. Their payloads must be equal where the sizes are.
func difference(library, own []byte) string {
	var found []byte
	note := func(format string, args ...any) {
		if len(found) > 0 {
			found = append(found, "; "...)
		}
		found = fmt.Appendf(found, format, args...)
	}
	a, b := bytes.Clone(library), bytes.Clone(own)
	for _, f := range []struct {
		name string
		at   int
	}{{"flags", atFlags}, {"event", atEvent}} {
		x, y := binary.NativeEndian.Uint32(a[f.at:]), binary.NativeEndian.Uint32(b[f.at:])
		if x != y {
			note("%s %#x, own %#x", f.name, x, y)
		}
		copy(a[f.at:f.at+4], b[f.at:])
	}
	if len(a) != len(b) {
		note("%d bytes, own %d", len(a), len(b))
		copy(a[atDataSize:atDataSize+4], b[atDataSize:])
		a, b = a[:headerSize], b[:headerSize]
	}
	if !bytes.Equal(a, b) {
		note("%q, own %q", a, b)
	}
	return string(found)
}

// tracedEnv makes the test binary do libraryCalls and nothing else.
const tracedEnv = "PLEXCTL_DM_TRACED"

func TestMain(m *testing.M) {
	if os.Getenv(tracedEnv) != "" {
		doLibraryCalls()
		return
	}
	m.Run()
}

// standIn is opened in place of the control node: a device that can be polled, as that one, and knows none of its commands.
const standIn = "/dev/random"

// markBase is a process that does not exist. Asking for its group marks a place in the sequence of system calls.
const markBase = 1 << 30

func mark(n int) { _, _ = unix.Getpgid(markBase + n) }

// doLibraryCalls does each call by the library, then by a request of this package, with a mark before each and at the end.
func doLibraryCalls() {
	runtime.LockOSThread()
	file, err := os.OpenFile(standIn, os.O_RDONLY|unix.O_NONBLOCK, 0) // also starts the runtime's poller
	if err != nil {
		panic(err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		panic(err)
	}
	c := &Control{file: file, conn: conn}
	calls := libraryCalls
	for i, tt := range calls {
		mark(2 * i)
		_ = tt.library() // the stand-in refuses all
		mark(2*i + 1)
		_, _ = c.call(tt.own)
	}
	mark(2 * len(calls))
}
