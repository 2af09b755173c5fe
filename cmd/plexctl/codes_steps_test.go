package main

import (
	"bytes"
	"context"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/size"
)

// situation is steps in order. It provokes one code, in at least one step.
type situation []step

// step is one command, one library call, or one thing that happens to the machine.
type step func(*codeRig)

// succeeds is a command that ends with 0.
func succeeds(args string) step {
	return func(r *codeRig) {
		r.t.Helper()
		if got := r.plexctl(args); got.status != 0 {
			r.t.Fatalf("plexctl %s: exit status %d\n%s", args, got.status, got.talk)
		}
		r.look()
	}
}

// happens is something that happens to the machine.
func happens(what func(*codeRig)) step { return what }

// disk adds an empty device /dev/NAME.
func disk(name string, length size.Bytes) step {
	return func(r *codeRig) { r.mem.AddDisk(blockdev.Info{Path: "/dev/" + name, Size: length}) }
}

// becomes edits what the machine says about a drive.
func becomes(drive string, change func(*blockdev.Info)) step {
	return func(r *codeRig) { r.mem.Change("/dev/"+drive, change) }
}

func protected(i *blockdev.Info) { i.ReadOnly = true }

func largerBlocks(i *blockdev.Info) { i.LogicalBlock = 4096 }

// mapped makes a device-mapper device that is not plexctl's.
func mapped(name string) step {
	return func(r *codeRig) {
		r.t.Helper()
		_, err := r.kernel.Create(r.t.Context(), name, "")
		r.must("create", err)
	}
}

// legFailed has a drive fail under a LUN and come back at once: its plex has failed then.
func legFailed(name, drive string) step {
	return func(r *codeRig) {
		r.t.Helper()
		path := "/dev/" + drive
		r.mem.Fail(path, blocktest.Fault{Kind: "write"})
		r.must("age", r.kernel.Age())
		r.must("write", r.kernel.WriteAt(r.t.Context(), "plex-"+name, bytes.Repeat([]byte{0xA5}, 4096), int64(size.MiB)))
		r.mem.Heal(path)
	}
}

// vanished and returned have a drive go and come.
func vanished(drive string) step { return func(r *codeRig) { r.mem.Vanish("/dev/" + drive) } }

func returned(drive string) step { return func(r *codeRig) { r.mem.Return("/dev/" + drive) } }

// emptied puts a machine in the place that has nothing but n empty drives.
func emptied(n int) step {
	return func(r *codeRig) {
		r.t.Helper()
		r.mem = blocktest.New()
		r.kernel = dmtest.New(r.mem, dmtest.Linux6_12)
		for i := range n {
			name := "sd" + string(rune('a'+i))
			disk(name, codesDrive)(r)
			succeeds("drive init /dev/" + name + " --yes")(r)
		}
	}
}

// kept keeps the handle of a LUN, so that later steps use it whatever becomes of the LUN.
func kept(name string) step {
	return func(r *codeRig) { r.t.Helper(); r.luns[name] = r.lun(name) }
}

// keptOp keeps the handle of the operation of a LUN. Its Provider is closed, so that nobody looks after the operation.
func keptOp(name string) step {
	return func(r *codeRig) {
		r.t.Helper()
		p := r.provider()
		op, err := p.Operation(name)
		r.must("find operation", err)
		p.Close()
		r.ops[name], r.opHomes[name] = op, p
	}
}

// call is a call of the library.
type call struct {
	text string
	do   func(context.Context, *codeRig) error
}

// refused is a command that is refused, and the calls that are refused for the same reason. Nothing changes.
func refused(args string, calls ...call) step {
	return func(r *codeRig) {
		r.t.Helper()
		r.leavesAll(args, func() {
			message := r.refusedCommand(args)
			for _, c := range calls {
				r.refusedCall(c, message)
			}
		})
	}
}

// refusedCall is a call that is refused, and that no command makes. Nothing changes.
func refusedCall(c call) step {
	return func(r *codeRig) {
		r.t.Helper()
		r.leavesAll(c.text, func() { r.refusedCall(c, "") })
	}
}

// edit changes the first label of a drive without a new checksum.
func (r *codeRig) edit(drive string, change func(label []byte)) {
	r.t.Helper()
	info, err := r.mem.Stat(r.t.Context(), "/dev/"+drive)
	r.must("stat", err)
	medium, err := r.mem.Medium(info.Dev)
	r.must("open", err)
	label := make([]byte, 4096)
	_, err = medium.ReadAt(label, 4096)
	r.must("read", err)
	change(label)
	_, err = medium.WriteAt(label, 4096)
	r.must("write", err)
}
