package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/size"
)

// commands are what scripts can do besides what testscript has.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"plexctl": plexctlCmd,

	// code N: the last plexctl left with exit status N.
	"code": on(func(ts *testscript.TestScript, s *stage, args []string) {
		if got := strconv.Itoa(s.status); got != args[0] {
			ts.Fatalf("exit status %s, want %s", got, args[0])
		}
	}),
	// coded CODE: the last plexctl ended with an error of this code.
	"coded": on(func(ts *testscript.TestScript, s *stage, args []string) {
		if got := codeOf(s.err).String(); got != args[0] {
			ts.Fatalf("%s, want %s: %v", got, args[0], s.err)
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
	// disk NAME SIZE [BLOCK [MODEL [SERIAL]]]: there is a disk /dev/NAME.
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
		if len(args) > 4 {
			info.Serial = args[4]
		}
		s.mem.AddDisk(info)
	}),
	// link NAME DISK: /dev/NAME leads to the disk /dev/DISK.
	"link": on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Link("/dev/"+args[0], "/dev/"+args[1]) }),
	// zeroes NAME: the disk can zero by itself.
	"zeroes": on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.SetOffload("/dev/"+args[0], true) }),
	// signature NAME [TYPE [LABEL]]: this is recognised on the disk; nothing without TYPE.
	"signature": on(func(_ *testscript.TestScript, s *stage, args []string) {
		if len(args) == 1 {
			s.mem.SetSignatures("/dev/" + args[0])
			return
		}
		s.mem.SetSignatures("/dev/"+args[0], signature.Signature{Type: args[1], Label: strings.Join(args[2:], " ")})
	}),
	// held-by NAME HOLDER: another device lies on the device.
	"held-by": on(func(ts *testscript.TestScript, s *stage, args []string) {
		info, err := s.mem.Stat(context.Background(), "/dev/"+args[0])
		ts.Check(err)
		s.mem.SetUsers(info.Dev, blockdev.User{Kind: "holder", Name: args[1]})
	}),
	// mounted NAME PLACE: the disk is mounted there.
	"mounted": on(func(ts *testscript.TestScript, s *stage, args []string) {
		info, err := s.mem.Stat(context.Background(), "/dev/"+args[0])
		ts.Check(err)
		s.mem.SetUsers(info.Dev, blockdev.User{Kind: "mount", Name: args[1]})
	}),
	// trait NAME readonly|writable|suspended|resumed|zoned|dax|integrity: the disk is that.
	"trait": on(func(ts *testscript.TestScript, s *stage, args []string) {
		s.mem.Change("/dev/"+args[0], func(i *blockdev.Info) {
			switch args[1] {
			case "readonly":
				i.ReadOnly = true
			case "writable":
				i.ReadOnly = false
			case "suspended":
				i.Suspended = true
				s.patience = 100 * time.Millisecond
			case "resumed":
				i.Suspended = false
				s.patience = 0
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
	// resize NAME SIZE: the disk has this size now.
	"resize": on(func(ts *testscript.TestScript, s *stage, args []string) {
		length, err := size.Parse(args[1])
		ts.Check(err)
		s.mem.Change("/dev/"+args[0], func(i *blockdev.Info) { i.Size = length })
	}),
	"unplug": on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Vanish("/dev/" + args[0]) }),
	"plug":   on(func(_ *testscript.TestScript, s *stage, args []string) { s.mem.Return("/dev/" + args[0]) }),
	// fail NAME read|write|flush: the disk refuses that. heal NAME: no more.
	"fail": on(func(_ *testscript.TestScript, s *stage, args []string) {
		s.mem.Fail("/dev/"+args[0], blocktest.Fault{Kind: args[1]})
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
	// wipe NAME AT LENGTH: somebody zeroes that much of the disk there.
	"wipe": on(func(ts *testscript.TestScript, s *stage, args []string) {
		at, err := size.Parse(args[1])
		ts.Check(err)
		length, err := size.Parse(args[2])
		ts.Check(err)
		disk, err := s.mem.Open(context.Background(), "/dev/"+args[0], blockdev.Write)
		ts.Check(err)
		defer disk.Close()
		ts.Check(blockdev.Zero(context.Background(), disk, at, length))
	}),
	// table LUN TARGET...: somebody has given the device of the LUN this table. A TARGET is linear:DISK:START:LENGTH or zero:LENGTH.
	"table": on(func(ts *testscript.TestScript, s *stage, args []string) {
		var table dm.Table
		var from size.Sectors
		for _, text := range args[1:] {
			part := strings.Split(text, ":")
			length, err := size.Parse(part[len(part)-1])
			ts.Check(err)
			segment := dm.Segment{Start: from, Length: length.Sectors(), Target: dm.Other{Name: part[0]}}
			if part[0] == "linear" {
				info, err := s.mem.Stat(context.Background(), "/dev/"+part[1])
				ts.Check(err)
				start, err := size.Parse(part[2])
				ts.Check(err)
				segment.Target = dm.Linear{Dev: info.Dev, Offset: start.Sectors()}
			}
			table, from = append(table, segment), from+segment.Length
		}
		ts.Check(s.kernel.Load(context.Background(), "plex-"+args[0], table))
		ts.Check(s.kernel.Resume(context.Background(), "plex-"+args[0], dm.Public))
	}),
	// hold LUN: somebody has the LUN open. release LUN: no more.
	"hold": on(func(ts *testscript.TestScript, s *stage, args []string) {
		release, err := s.kernel.Hold("plex-" + args[0])
		ts.Check(err)
		s.held[args[0]] = release
	}),
	"release": on(func(_ *testscript.TestScript, s *stage, args []string) { s.held[args[0]]() }),
	// write LUN AT LENGTH: somebody writes that much to the LUN at that place. The kernel has had time to clear its bitmap
	// before, and hears of what fails.
	"write": on(func(ts *testscript.TestScript, s *stage, args []string) {
		at, err := size.Parse(args[1])
		ts.Check(err)
		length, err := size.Parse(args[2])
		ts.Check(err)
		ts.Check(s.kernel.Age())
		data := bytes.Repeat([]byte{0xA5}, int(length))
		ts.Check(s.kernel.WriteAt(context.Background(), "plex-"+args[0], data, int64(at)))
	}),
	// device NAME UUID: somebody has made this device-mapper device.
	"device": on(func(ts *testscript.TestScript, s *stage, args []string) {
		_, err := s.kernel.Create(context.Background(), args[0], args[1])
		ts.Check(err)
	}),
	// reboot: the machine is switched off and on; nothing is active.
	"reboot": on(func(_ *testscript.TestScript, s *stage, _ []string) {
		s.mem = s.mem.Cut(blocktest.Kept)
		s.kernel = dmtest.New(s.mem, dmtest.Linux6_12)
	}),
	// lock hold|release: another plexctl changes something. lock briefly: it is done in a moment.
	"lock": on(func(ts *testscript.TestScript, s *stage, args []string) {
		if args[0] == "release" {
			s.lock.Unlock()
			s.lock = nil
			return
		}
		lock, err := hostlock.Acquire(context.Background(), s.lockPath, "add plex")
		ts.Check(err)
		if args[0] == "briefly" {
			time.AfterFunc(50*time.Millisecond, lock.Unlock)
			return
		}
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
	// interrupt-at EFFECT: the user presses Ctrl-C at the next such effect, once.
	"interrupt-at": on(func(_ *testscript.TestScript, s *stage, args []string) { s.interruptAt = args[0] }),
	// terminal [color]: plexctl runs at a terminal. pipe: it does not.
	"terminal": on(func(_ *testscript.TestScript, s *stage, args []string) {
		s.terminal = terminal{in: true, out: true, err: true, width: 100, color: len(args) > 0}
	}),
	"pipe": on(func(_ *testscript.TestScript, s *stage, _ []string) { s.terminal = terminal{} }),
	// type TEXT: the user types that at the next command.
	"type": on(func(_ *testscript.TestScript, s *stage, args []string) { s.typed = strings.Join(args, " ") + "\n" }),
	// user root|nobody: who runs plexctl.
	"user": on(func(_ *testscript.TestScript, s *stage, args []string) { s.root = args[0] == "root" }),
	// clone FROM TO: disk TO is a new one that holds what FROM holds.
	"clone": on(func(ts *testscript.TestScript, s *stage, args []string) {
		ts.Check(s.clone("/dev/"+args[0], "/dev/"+args[1]))
	}),
	// identity DISK TEXT: what a disk says of itself.
	"identity": on(func(_ *testscript.TestScript, s *stage, args []string) {
		s.mem.Change("/dev/"+args[0], func(i *blockdev.Info) { i.Identity = blockdev.Identity(args[1]) })
	}),
	// host ID...: the ids of the host that plexctl runs on.
	"host": on(func(_ *testscript.TestScript, s *stage, args []string) { s.hosts = args }),
	// kernel RELEASE | kernel without TARGET | kernel broken: what doctor finds.
	"kernel": on(func(_ *testscript.TestScript, s *stage, args []string) {
		switch {
		case args[0] == "broken":
			s.broken = &dm.Error{Op: "open", Device: "/dev/mapper/control", Err: dm.ErrNotSupported}
		case args[0] == "without" && args[1] == "raid1":
			s.facts.kernel.Raid1 = dm.Missing
		case args[0] == "without":
			delete(s.facts.kernel.Targets, args[1])
		default:
			s.facts.release = args[0]
		}
	}),
	// unload MODULE: the kernel has lost that module, dm-raid or raid1. load: it is back.
	"unload": on(func(_ *testscript.TestScript, s *stage, args []string) { s.kernel.Unload(args[0]) }),
	"load":   on(func(_ *testscript.TestScript, s *stage, _ []string) { s.kernel.Unload("") }),
	// suspend LUN: a change was cut off while the LUN was suspended.
	"suspend": on(func(ts *testscript.TestScript, s *stage, args []string) {
		ts.Check(s.kernel.Suspend(context.Background(), "plex-"+args[0], false))
	}),
	// message LUN TEXT: somebody sends a message to the LUN's device.
	"message": on(func(ts *testscript.TestScript, s *stage, args []string) {
		_, err := s.kernel.Message(context.Background(), "plex-"+args[0], 0, args[1])
		ts.Check(err)
	}),
	// differ NAME: somebody has written over what LUNs have on the disk.
	"differ": on(func(ts *testscript.TestScript, s *stage, args []string) {
		info, err := s.mem.Stat(context.Background(), "/dev/"+args[0])
		ts.Check(err)
		disk, err := s.mem.Medium(info.Dev)
		ts.Check(err)
		_, err = disk.WriteAt(bytes.Repeat([]byte{0xA5}, int(size.MiB)), int64(info.Size/4))
		ts.Check(err)
	}),
	// snapshot: remembers all tables and drives. unchanged: they are as they were then.
	"snapshot": on(func(ts *testscript.TestScript, s *stage, _ []string) {
		var err error
		s.before, err = s.state(context.Background())
		ts.Check(err)
	}),
	"unchanged": func(ts *testscript.TestScript, neg bool, _ []string) {
		s := stageOf(ts)
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

func stageOf(ts *testscript.TestScript) *stage {
	s, ok := ts.Value(stageKey{}).(*stage)
	if !ok {
		ts.Fatalf("the script has no stage")
	}
	return s
}

// on is a command of the stage that cannot be negated.
func on(f func(*testscript.TestScript, *stage, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("unsupported: !")
		}
		f(ts, stageOf(ts), args)
	}
}

// plexctlCmd runs plexctl. After "!" it must not leave with 0, else it must.
func plexctlCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	s.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == s.interruptAt {
			s.interruptAt = ""
			interrupt()
		}
		return nil
	}
	var out, talk bytes.Buffer
	status, err := s.app(&out, &talk, interrupt).execute(ctx, args)
	s.status, s.err = int(status), err
	s.typed, s.raw = "", out.String()
	s.walk.note(args, out.String()+talk.String(), s.status)
	fmt.Fprint(ts.Stdout(), s.normalize(out.String()))
	fmt.Fprint(ts.Stderr(), s.normalize(talk.String()))
	if (s.status != 0) != neg {
		ts.Fatalf("exit status %d", s.status)
	}
}
