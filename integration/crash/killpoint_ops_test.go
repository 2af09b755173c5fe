package crash

import (
	"slices"
	"strings"
	"time"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
)

// killOp is an operation that plexctl is killed in.
type killOp struct {
	name    string
	from    string                              // the layout to begin with
	prepare func(k *killRig)                    // makes the rest of the state to begin with; may be nil
	args    func(k *killRig) []string           // of plexctl
	old     string                              // the layout in the end when the operation was not done; from when empty
	done    string                              // the layout in the end when it was
	window  bool                                // the LUN is suspended on the way
	maybe   bool                                // it may be: that depends on what is written to it
	lost    bool                                // drive 1 has been lost, and is recovered in the end
	stale   bool                                // a plex is out of date afterwards, and is recovered in the end
	again   func(k *killRig)                    // does what is left to do, before anything is assembled; may be nil
	check   func(k *killRig, from uint64) error // looks at what the operation has made; from: writes acknowledged before it. May be nil
}

// command is the arguments of plexctl, of which "@1" stands for drive 1.
func command(line string) func(k *killRig) []string {
	return func(k *killRig) []string {
		args := strings.Fields(line)
		for i, arg := range args {
			if digit, ok := strings.CutPrefix(arg, "@"); ok {
				args[i] = k.Drives[digit[0]-'0']
			}
		}
		return args
	}
}

// ops are all operations that can be on the rig's drives.
func (k *killRig) ops() []killOp {
	return slices.DeleteFunc(slices.Concat(plexOps(), stateOps(), lunOps(), driveOps()), func(op killOp) bool { return op.lost && k.brittle == nil })
}

// plexOps are those that change which plexes there are.
func plexOps() []killOp {
	return []killOp{
		{name: "add a LUN", from: "spare=1 web1=0", args: command("plex add web1 spare --yes"), done: "web1=01"},
		{
			name: "add a LUN to a mirror", from: "spare=2 web1=01",
			args: command("plex add web1 spare --yes"), done: "web1=012", window: true,
		},
		{name: "add a mirror", from: "spare=12 web1=0", args: command("plex add web1 spare --yes"), done: "web1=012"},
		{name: "add room", from: "web1=0", args: command("plex add web1 --drive @1"), done: "web1=01"},
		{name: "add room to a mirror", from: "web1=01", args: command("plex add web1 --drive @2"), done: "web1=012", window: true},
		{
			name: "add room after a scan", from: "web1=0",
			args: command("plex add web1 --drive @2 --scan"), done: "web1=02", maybe: true, // drive 1 cannot zero
		},
		{
			name: "cancel", from: "spare=1 web1=0", prepare: (*killRig).adding, args: command("op cancel web1 --yes"),
			old: "web1=01", done: "spare=1 web1=0",
		},
		{
			name: "cancel at a mirror", from: "spare=2 web1=01", prepare: (*killRig).adding, args: command("op cancel web1 --yes"),
			old: "web1=012", done: "spare=2 web1=01", window: true,
		},
		{name: "remove of two", from: "web1=01", args: command("plex remove web1 @1 --yes"), done: "web1=0", window: true},
		{name: "remove of three", from: "web1=012", args: command("plex remove web1 @2 --yes"), done: "web1=01", window: true},
		{name: "remove the first", from: "web1=012", args: command("plex remove web1 @0 --yes"), done: "web1=12", window: true},
		{
			name: "split of two", from: "web1=01",
			args: command("plex split web1 @1 --name part"), done: "part=1 web1=0", check: (*killRig).checkPart, window: true,
		},
		{
			name: "split of three", from: "web1=012",
			args: command("plex split web1 @2 --name part"), done: "part=2 web1=01", check: (*killRig).checkPart, window: true,
		},
	}
}

// stateOps are those that change the state of a LUN and not what it is made of.
func stateOps() []killOp {
	return []killOp{
		{
			name: "recover", from: "web1=01", prepare: (*killRig).lose,
			args: command("lun recover web1"), done: "web1=01", lost: true, window: true,
		},
		{
			name: "recover of three", from: "web1=012", prepare: (*killRig).lose,
			args: command("lun recover web1"), done: "web1=012", lost: true, window: true,
		},
		{
			name: "set-rate", from: "spare=1 web1=0", prepare: (*killRig).adding,
			args: command("op set-rate web1 1MiB"), old: "web1=01", done: "web1=01", window: true,
		},
		{
			name: "set-rate at a mirror", from: "spare=2 web1=01", prepare: (*killRig).adding,
			args: command("op set-rate web1 1MiB"), old: "web1=012", done: "web1=012", window: true,
		},
		{name: "deactivate", from: "web1=01", prepare: func(k *killRig) { k.Writer.Stop() }, args: command("deactivate"), done: "web1=01"},
		{
			name: "deactivate of three", from: "web1=012", prepare: func(k *killRig) { k.Writer.Stop() },
			args: command("deactivate"), done: "web1=012",
		},
		{
			name: "deactivate several", from: "spare=12 web1=01", prepare: func(k *killRig) { k.Writer.Stop() },
			args: command("deactivate"), done: "spare=12 web1=01",
		},
		{name: "assemble", from: "web1=01", prepare: func(k *killRig) { k.Down(false) }, args: command("assemble"), done: "web1=01"},
		{
			name: "assemble after a crash", from: "web1=012", prepare: func(k *killRig) { k.Down(true) },
			args: command("assemble"), done: "web1=012",
		},
		{
			name: "assemble several", from: "spare=12 web1=01", prepare: func(k *killRig) { k.Down(false) },
			args: command("assemble"), done: "spare=12 web1=01",
		},
		{
			name: "assemble a change that was cut off", from: "web1=012", prepare: (*killRig).cutOff,
			args: command("assemble"), old: "web1=01", done: "web1=01", window: true,
		},
	}
}

// lunOps are those that a LUN of any kind can be under.
func lunOps() []killOp {
	return []killOp{
		{name: "create", from: "web1=0", args: command("lun create fresh --size 4MiB --drive @1"), done: "fresh=1 web1=0"},
		{name: "create tracked", from: "web1=0", args: command("lun create fresh --size 4MiB --drive @1 --track"), done: "fresh=1 web1=0"},
		{name: "delete", from: "spare=1 web1=0", args: command("lun delete spare --yes"), done: "web1=0"},
		{name: "delete a mirror", from: "spare=12 web1=0", args: command("lun delete spare --yes"), done: "web1=0"},
		{name: "rename", from: "web1=0", args: command("lun rename web1 web2"), done: "web2=0"},
		{name: "rename a mirror", from: "web1=01", args: command("lun rename web1 web2"), done: "web2=01"},
		{name: "extend", from: "web1=0", args: command("lun extend web1 --by 1MiB"), done: "web1=0+"},
		{name: "extend a mirror", from: "web1=01", args: command("lun extend web1 --by 1MiB"), done: "web1=01+", window: true},
	}
}

// adding makes spare a plex of web1, which is not filled for now.
func (k *killRig) adding() {
	k.T.Helper()
	spare, err := k.Provider.LUN("spare")
	lab.Must(k.T, err)
	_, err = k.LUN.AddPlex(k.T.Context(), spare.ID(), lun.AttachOptions{Rate: lun.Paused})
	lab.Must(k.T, err)
}

// lose makes drive 1 fail until web1 has lost its plex there, and for some writes more.
func (k *killRig) lose() {
	k.T.Helper()
	k.brittle.WearOut()
	k.AwaitLoss(cut.WebName, 1)
	k.More(10)
	k.brittle.Heal()
}

// cutOff kills plexctl after the commit of a removal, before it suspends the LUN.
func (k *killRig) cutOff() {
	k.T.Helper()
	op := k.ops()[slices.IndexFunc(k.ops(), func(o killOp) bool { return o.name == "remove of three" })]
	window := slices.Index(k.effectsOf(op), "suspend plex-"+cut.WebName)
	k.reach(op.from)
	if got := lab.Trace(k.T, lab.After(window), op.args(k)...); !got.Killed {
		k.T.Fatalf("plexctl was not killed before the window, at effect %d of %q", window, got.Effects)
	}
}

// checkPart compares the LUN that was split off, if it was, with what was acknowledged before.
func (k *killRig) checkPart(from uint64) error {
	if _, err := k.Provider.LUN("part"); err != nil {
		return nil //nolint:nilerr // there is nothing to look at
	}
	return k.Writer.Check("/dev/mapper/plex-part", from, k.Writer.Acked.Load()-from+1)
}

// effectsOf is the effects of a whole run of an operation. It runs it if need be.
func (k *killRig) effectsOf(op killOp) []string {
	k.T.Helper()
	if k.effects[op.name] == nil {
		k.point(op, lab.After(0))
	}
	return k.effects[op.name]
}

// typical is how long most operations take.
const typical = time.Second
