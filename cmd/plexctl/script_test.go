package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// TestScripts runs testdata/script/*.txtar. Each has a machine of its own, in memory, on which `plexctl` works. What
// scripts see of plexctl's output has every GUID, speed and path of the lock replaced (see normalize), so that it can be
// compared as a whole. With -update, files that `cmp` compares with are written anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Values[stageKey{}] = newStage(env.WorkDir)
			return nil
		},
		Cmds: commands,
	})
}

// stage is the machine of one script and the user in front of it.
type stage struct {
	mem      *blockdev.Mem
	kernel   *dmtest.Kernel
	lockPath string
	lock     *blockdev.HostLock // held by somebody else
	held     map[string]func()  // releases what a script holds open, by LUN
	facts    facts
	root     bool
	broken   error // of opening the machine

	terminal  terminal
	typed     string // what the user types at the next command
	speed     int    // regions that are copied between two looks of a wait; 0: the resync stands still
	interrupt int    // the user presses Ctrl-C after so many looks; 0: never

	status int    // exit status of the last command
	raw    string // its stdout as it was
	before state  // the last snapshot
}

type stageKey struct{}

// scriptTime is what the clock says in scripts.
var scriptTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newStage(dir string) *stage {
	mem := blockdev.NewMem()
	return &stage{
		mem: mem, kernel: dmtest.New(mem, dmtest.Linux6_12),
		lockPath: filepath.Join(dir, "lock"), held: map[string]func(){}, root: true, speed: 1,
		facts: facts{
			release: "6.12.48-amd64", udev: true, lockDir: "/run/plexctl",
			kernel: dm.Report{
				Interface: dm.Version{Major: 4, Minor: 48}, Raid1: dm.Loadable,
				Targets: []dm.TargetReport{
					{Name: "linear", Version: dm.Version{Major: 1, Minor: 4}, Support: dm.Loaded},
					{Name: "raid", Version: dm.Version{Major: 1, Minor: 15, Patch: 1}, Support: dm.Loaded},
				},
			},
		},
	}
}

// app is a run of plexctl on the stage.
func (s *stage) app(out, err io.Writer, cancel context.CancelFunc) *app {
	looks := 0
	return &app{
		in: strings.NewReader(s.typed), out: out, err: err, terminal: s.terminal, root: s.root, format: formatText,
		patience: s.patience(),
		now:      func() time.Time { return scriptTime },
		open:     s.open,
		examine:  s.examine,
		after: func(time.Duration) <-chan time.Time {
			if looks++; looks == s.interrupt {
				cancel()
				return nil
			}
			return s.pass()
		},
	}
}

// patience is short where a script knows that it is in vain.
func (s *stage) patience() time.Duration {
	if s.lock != nil {
		return 30 * time.Millisecond
	}
	return time.Minute
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

func (s *stage) open(ctx context.Context, log *slog.Logger) (*world, error) {
	if s.broken != nil {
		return nil, controlFault(s.broken)
	}
	p, err := lun.Open(ctx, lun.Options{
		Kernel: s.kernel, Devices: s.mem, Logger: log, LockPath: s.lockPath, Now: func() time.Time { return scriptTime },
	})
	if err != nil {
		return nil, err
	}
	return &world{Provider: p, devices: s.mem, close: p.Close}, nil
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

// commands are what scripts can do besides what testscript has.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"plexctl": plexctlCmd,

	// code N: the last plexctl left with exit status N.
	"code": on(func(ts *testscript.TestScript, s *stage, args []string) {
		if got := strconv.Itoa(s.status); got != args[0] {
			ts.Fatalf("exit status %s, want %s", got, args[0])
		}
	}),
	// capture VAR PATTERN: sets VAR to what the group in PATTERN matches in the stdout of the last plexctl.
	"capture": on(func(ts *testscript.TestScript, s *stage, args []string) {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(s.raw)
		if m == nil {
			ts.Fatalf("%s does not match", args[1])
		}
		ts.Setenv(args[0], m[1])
	}),
	// disk NAME SIZE [BLOCK [MODEL]]: there is a disk /dev/NAME.
	"disk": on(func(ts *testscript.TestScript, s *stage, args []string) {
		length, err := size.Parse(args[1])
		ts.Check(err)
		info := blockdev.Info{Path: "/dev/" + args[0], Size: length}
		if len(args) > 2 {
			block, err := strconv.Atoi(args[2])
			ts.Check(err)
			info.LogicalBlock = size.Bytes(block)
		}
		if len(args) > 3 {
			info.Model = args[3]
		}
		s.mem.AddDisk(info)
	}),
	// signature NAME [TYPE [LABEL]]: this is recognised on the disk; nothing without TYPE.
	"signature": on(func(_ *testscript.TestScript, s *stage, args []string) {
		if len(args) == 1 {
			s.mem.SetSignatures("/dev/" + args[0])
			return
		}
		s.mem.SetSignatures("/dev/"+args[0], blockdev.Signature{Type: args[1], Label: strings.Join(args[2:], " ")})
	}),
	// mounted NAME PLACE: the disk is mounted there.
	"mounted": on(func(ts *testscript.TestScript, s *stage, args []string) {
		info, err := s.mem.Stat(context.Background(), "/dev/"+args[0])
		ts.Check(err)
		s.mem.SetUsers(info.Dev, blockdev.User{Kind: "mount", Name: args[1]})
	}),
	// trait NAME readonly|zoned|dax|integrity: the disk is that.
	"trait": on(func(ts *testscript.TestScript, s *stage, args []string) {
		s.mem.Change("/dev/"+args[0], func(i *blockdev.Info) {
			switch args[1] {
			case "readonly":
				i.ReadOnly = true
			case "zoned":
				i.Zoned = true
			case "dax":
				i.DAX = true
			case "integrity":
				i.Integrity = true
			default:
				ts.Fatalf("no trait %s", args[1])
			}
		})
	}),
	"unplug": on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Vanish("/dev/" + args[0]) }),
	"plug":   on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Return("/dev/" + args[0]) }),
	// fail NAME read|write|flush: the disk refuses that. heal NAME: no more.
	"fail": on(func(_ *testscript.TestScript, s *stage, args []string) {
		s.mem.Fail("/dev/"+args[0], blockdev.Fault{Kind: args[1]})
	}),
	"heal": on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Heal("/dev/" + args[0]) }),
	// damage NAME: both copies of the drive's label are damaged.
	"damage": on(func(ts *testscript.TestScript, s *stage, args []string) {
		disk, err := s.mem.Open(context.Background(), "/dev/"+args[0], blockdev.Write)
		ts.Check(err)
		defer disk.Close()
		for _, at := range []size.Bytes{4 * size.KiB, catalog.TailStart(disk.Info().Size) + 4*size.KiB} {
			label := make([]byte, blockdev.Align)
			_, err := disk.ReadAt(label, int64(at))
			ts.Check(err)
			label[40]++
			_, err = disk.WriteAt(label, int64(at))
			ts.Check(err)
		}
	}),
	// hold LUN: somebody has the LUN open. release LUN: no more.
	"hold": on(func(ts *testscript.TestScript, s *stage, args []string) {
		release, err := s.kernel.Hold("plex-" + args[0])
		ts.Check(err)
		s.held[args[0]] = release
	}),
	"release": on(func(_ *testscript.TestScript, s *stage, args []string) { s.held[args[0]]() }),
	// device NAME UUID: somebody has made this device-mapper device.
	"device": on(func(ts *testscript.TestScript, s *stage, args []string) {
		_, err := s.kernel.Create(context.Background(), args[0], args[1])
		ts.Check(err)
	}),
	// reboot: the machine is switched off and on; nothing is active.
	"reboot": on(func(_ *testscript.TestScript, s *stage, _ []string) {
		s.mem = s.mem.Cut(blockdev.Kept)
		s.kernel = dmtest.New(s.mem, dmtest.Linux6_12)
	}),
	// lock hold|release: another plexctl changes something.
	"lock": on(func(ts *testscript.TestScript, s *stage, args []string) {
		if args[0] == "release" {
			s.lock.Unlock()
			s.lock = nil
			return
		}
		lock, err := blockdev.Lock(context.Background(), s.lockPath, "add plex")
		ts.Check(err)
		s.lock = lock
	}),
	// tick N: the resync begins, or goes on by N regions. run-to-end: it ends.
	"tick": on(func(ts *testscript.TestScript, s *stage, args []string) {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		ts.Check(s.kernel.Tick(n))
	}),
	"run-to-end": on(func(ts *testscript.TestScript, s *stage, _ []string) { ts.Check(s.kernel.RunToEnd()) }),
	// speed N: regions that are copied between two looks of a wait; 0: the resync stands still.
	"speed": on(func(ts *testscript.TestScript, s *stage, args []string) {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		s.speed = n
	}),
	// interrupt N: the user presses Ctrl-C after N looks of the next waits; 0: never.
	"interrupt": on(func(ts *testscript.TestScript, s *stage, args []string) {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		s.interrupt = n
	}),
	// terminal [color]: plexctl runs at a terminal. pipe: it does not.
	"terminal": on(func(_ *testscript.TestScript, s *stage, args []string) {
		s.terminal = terminal{in: true, out: true, err: true, width: 100, color: len(args) > 0}
	}),
	"pipe": on(func(_ *testscript.TestScript, s *stage, _ []string) { s.terminal = terminal{} }),
	// type TEXT: the user types that at the next command.
	"type": on(func(_ *testscript.TestScript, s *stage, args []string) { s.typed = strings.Join(args, " ") + "\n" }),
	// user root|nobody: who runs plexctl.
	"user": on(func(_ *testscript.TestScript, s *stage, args []string) { s.root = args[0] == "root" }),
	// kernel RELEASE | kernel without TARGET | kernel broken: what doctor finds.
	"kernel": on(func(ts *testscript.TestScript, s *stage, args []string) {
		switch {
		case args[0] == "broken":
			s.broken = &dm.Error{Op: "open", Device: "/dev/mapper/control", Err: dm.ErrNotSupported}
		case args[0] == "without" && args[1] == "raid1":
			s.facts.kernel.Raid1 = dm.Missing
		case args[0] == "without":
			s.facts.kernel.Targets = slices.DeleteFunc(s.facts.kernel.Targets, func(t dm.TargetReport) bool { return t.Name == args[1] })
		default:
			s.facts.release = args[0]
		}
	}),
	// snapshot: remembers all tables and drives. unchanged: they are as they were then.
	"snapshot": on(func(ts *testscript.TestScript, s *stage, _ []string) {
		var err error
		s.before, err = s.state(context.Background())
		ts.Check(err)
	}),
	"unchanged": func(ts *testscript.TestScript, neg bool, _ []string) {
		s := ts.Value(stageKey{}).(*stage)
		now, err := s.state(context.Background())
		ts.Check(err)
		switch diff := cmp.Diff(s.before, now); {
		case diff != "" && !neg:
			ts.Fatalf("tables or drives have changed (-before +now):\n%s", diff)
		case diff == "" && neg:
			ts.Fatalf("nothing has changed")
		}
	},
}

// on is a command of the stage that cannot be negated.
func on(f func(*testscript.TestScript, *stage, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("unsupported: !")
		}
		f(ts, ts.Value(stageKey{}).(*stage), args)
	}
}

// plexctlCmd runs plexctl. After "!" it must not leave with 0, else it must.
func plexctlCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(stageKey{}).(*stage)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	var out, talk bytes.Buffer
	s.status = s.app(&out, &talk, interrupt).run(ctx, args)
	s.typed, s.raw = "", out.String()
	fmt.Fprint(ts.Stdout(), s.normalize(out.String()))
	fmt.Fprint(ts.Stderr(), s.normalize(talk.String()))
	if (s.status != 0) != neg {
		ts.Fatalf("exit status %d", s.status)
	}
}
