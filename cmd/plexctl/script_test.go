package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// TestScripts runs testdata/script/*.txtar. Each has a machine of its own, in memory, on which `plexctl` works. What
// scripts see of plexctl's output has every GUID, speed and path of the lock replaced (see normalize), so that it can be
// compared as a whole. With -update, files that `cmp` compares with are written anew.
func TestScripts(t *testing.T) {
	t.Cleanup(func() { checkHints(t) })
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			s := newStage(env.WorkDir)
			s.walk = newWalk()
			env.Values[stageKey{}] = s
			return nil
		},
		Cmds: commands,
	})
}

// stage is the machine of one script and the user in front of it.
type stage struct {
	mem      *blocktest.Mem
	kernel   *dmtest.Kernel
	lockPath string
	lock     *hostlock.Lock    // held by somebody else
	held     map[string]func() // releases what a script holds open, by LUN
	facts    facts
	root     bool
	hosts    []string      // ids of this host
	broken   error         // of opening the machine
	patience time.Duration // for devices that do not answer

	terminal    terminal
	typed       string // what the user types at the next command
	speed       int    // regions that are copied between two looks of a wait; 0: the resync stands still
	interruptAt string // the effect at which the user presses Ctrl-C; "": none
	interrupt   int    // the user presses Ctrl-C after so many looks; 0: never

	walk   *walk  // notes what it says and what is run; nil: nothing
	status int    // exit status of the last command
	err    error  // what it reported
	raw    string // its stdout as it was
	before state  // the last snapshot
}

type stageKey struct{}

// scriptTime is what the clock says in scripts.
var scriptTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newStage(dir string) *stage {
	mem := blocktest.New()
	return &stage{
		mem: mem, kernel: dmtest.New(mem, dmtest.Linux6_12),
		lockPath: filepath.Join(dir, "lock"), held: map[string]func(){}, root: true, speed: 1,
		facts: facts{
			release: "6.12.48-amd64", udev: true, lockDir: "/run/plexctl",
			kernel: dm.Report{
				Interface: dm.Version{Major: 4, Minor: 48}, Raid1: dm.Loadable,
				Targets: map[string]dm.Version{"linear": {Major: 1, Minor: 4}, "raid": {Major: 1, Minor: 15, Patch: 1}},
			},
		},
	}
}

// app is a run of plexctl on the stage. It writes to out and err. cancel is what Ctrl-C does.
func (s *stage) app(out, err io.Writer, cancel context.CancelFunc) *app {
	looks := 0
	return &app{
		streams{in: strings.NewReader(s.typed), out: out, err: err, terminal: s.terminal},
		factory{
			config:  filepath.Join(filepath.Dir(s.lockPath), "plexctl.conf"),
			root:    s.root,
			open:    s.open,
			examine: s.examine,
			after: func(time.Duration) <-chan time.Time {
				if looks++; looks == s.interrupt {
					cancel()
					return nil
				}
				return s.pass()
			},
		},
	}
}

// pass lets time pass between two looks: the resync goes on, and the wait is over. Without speed the wait never is.
func (s *stage) pass() <-chan time.Time {
	if s.speed == 0 {
		return nil
	}
	if err := s.kernel.Tick(s.speed); err != nil {
		panic(err) // a test that copies to drives that fail sets no speed
	}
	over := make(chan time.Time, 1)
	over <- scriptTime
	return over
}

// clone adds a disk that holds what another one holds.
func (s *stage) clone(from, to string) error {
	ctx := context.Background()
	info, err := s.mem.Stat(ctx, from)
	if err != nil {
		return err
	}
	s.mem.AddDisk(blockdev.Info{Path: to, Size: info.Size})
	in, err := s.mem.Medium(info.Dev)
	if err != nil {
		return err
	}
	if info, err = s.mem.Stat(ctx, to); err != nil {
		return err
	}
	out, err := s.mem.Medium(info.Dev)
	if err != nil {
		return err
	}
	b := make([]byte, info.Size)
	_, readErr := in.ReadAt(b, 0)
	_, writeErr := out.WriteAt(b, 0)
	return errors.Join(readErr, writeErr, out.Sync())
}

func (s *stage) open(ctx context.Context, opts lun.Options) (*host, error) {
	if s.broken != nil {
		return nil, controlFault(s.broken)
	}
	opts.Kernel, opts.Devices, opts.LockPath, opts.Hosts = s.kernel, s.mem, s.lockPath, s.hosts
	opts.Release = s.facts.release
	opts.Now, opts.Patience = func() time.Time { return scriptTime }, s.patience
	if s.lock != nil && opts.LockTimeout == defaultLockTimeout {
		opts.LockTimeout = 30 * time.Millisecond // the script knows that the default is in vain
	}
	p, err := lun.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &host{Provider: p, devices: s.mem, now: opts.Now, close: p.Close}, nil
}

func (s *stage) examine(ctx context.Context) facts {
	f := s.facts
	f.dmErr = s.broken
	if f.dmErr == nil {
		f.devices, f.dmErr = s.kernel.List(ctx)
	}
	return f
}

// normalize replaces what differs from run to run by text of the same length, and drops speeds.
func (s *stage) normalize(text string) string {
	text = strings.ReplaceAll(text, s.lockPath, "/run/plexctl/lock")
	text = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).
		ReplaceAllString(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
	text = regexp.MustCompile(`:[0-9a-f]{8}:(meta-[ab]|data)\b`).ReplaceAllString(text, ":xxxxxxxx:$1") // devices of plexes
	if s.terminal.out {
		text = regexp.MustCompile(`\b[0-9a-f]{8}\b`).ReplaceAllString(text, "xxxxxxxx")
	}
	text = regexp.MustCompile(`, [0-9.]+ [KMGTP]?i?B/s|, [0-9hms]+ left`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`,"(bytesPerSecond|etaSeconds)":\d+`).ReplaceAllString(text, "")
	return regexp.MustCompile(`held by process \d+ `).ReplaceAllString(text, "held by process N ")
}

// state is everything that a command can change: the tables of all devices, and the content of all drives.
type state map[string]string

var seed = maphash.MakeSeed()

func (s *stage) state(ctx context.Context) (state, error) {
	now := state{}
	devices, err := s.kernel.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		table, err := s.kernel.Table(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		info, err := s.kernel.Info(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		now[d.Name] = fmt.Sprintf("%s suspended=%t inactive=%t", table, info.Suspended, info.Inactive)
	}
	drives, err := s.mem.Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range drives {
		if strings.HasPrefix(d.Path, "/dev/dm-") || strings.HasPrefix(d.Path, "/dev/mapper/") {
			continue
		}
		if now[d.Path], err = s.digest(ctx, d); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// digest is a hash of what is on a drive.
func (s *stage) digest(ctx context.Context, d blockdev.Info) (string, error) {
	disk, err := s.mem.Open(ctx, d.Path, blockdev.Read)
	if err != nil {
		return "", err
	}
	defer disk.Close()
	var sum maphash.Hash
	sum.SetSeed(seed)
	chunk := make([]byte, size.MiB)
	for at := size.Bytes(0); at < d.Size; at += size.MiB {
		if _, err := disk.ReadAt(chunk, int64(at)); err != nil {
			return "", err
		}
		sum.Write(chunk)
	}
	return strconv.FormatUint(sum.Sum64(), 16), nil
}
