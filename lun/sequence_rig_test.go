package lun_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// rig is a machine in memory with two plexctls and a user of its LUNs. It also holds the expected state.
type rig struct {
	t      *rapid.T
	linux  dmtest.Release
	mem    *blocktest.Mem
	kernel *dmtest.Kernel
	lock   string
	paths  map[uuid.UUID]string
	host   int  // number of the host that the drives are in
	guards bool // somebody stands by in windows
	procs  [2]*process
	random *rand.Rand // of the step

	records  map[uuid.UUID]catalog.LUN // what all drives together say, those that are away too
	volumes  map[uuid.UUID]*volume
	stamp    uint64
	named    int
	absent   map[string]bool         // drives that are away
	sick     map[string]bool         // drives with faults
	harmed   bool                    // a drive has had faults
	held     map[uuid.UUID]func()    // LUNs that are open, and how to close them
	windows  map[*process]lun.Window // somebody stands by
	cutOff   bool                    // a process was killed in a change, and nobody has assembled since
	unsure   bool                    // what the records say is not on all the drives for good
	quiet    bool                    // nothing is being copied
	plugged  bool                    // a disk of another host is here
	cloned   string                  // the drive of which a clone is here
	photos   []photo                 // of earlier moments
	choosing string                  // the device that is to become a drive
	wrong    string                  // found where the test cannot be ended
	trace    []string
	tally    *tally
}

// tally counts the sequences, their steps and their faults, the operations that a comparison has ended, the drives and plexes that were
// put back, and the LUNs whose plexes were used without each other.
type tally struct{ sequences, steps, faults, checks, images, forks int }

// shelf is what every sequence begins with: a machine with empty drives that is switched off.
type shelf struct {
	mem   *blocktest.Mem
	paths map[uuid.UUID]string // of the drives
	lock  string
	tally *tally
}

// newRig is a rig on a copy of a machine.
func newRig(t *rapid.T, from *shelf, linux dmtest.Release, guards bool) *rig {
	r := &rig{
		t: t, linux: linux, guards: guards, mem: from.mem.Cut(blocktest.Kept), lock: from.lock, paths: from.paths, tally: from.tally,
		volumes: map[uuid.UUID]*volume{}, absent: map[string]bool{}, sick: map[string]bool{},
		held: map[uuid.UUID]func(){}, windows: map[*process]lun.Window{},
	}
	return r
}

// boot starts a kernel and both processes.
func (r *rig) boot() {
	r.kernel = dmtest.New(r.mem, r.linux)
	for i := range r.procs {
		r.start(i)
	}
}

// start starts a process.
func (r *rig) start(number int) *process {
	p := &process{number: number}
	opts := lun.Options{Kernel: doorKernel{r.kernel, p}, Devices: doorDevices{r.mem, p}, LockPath: r.lock, Hosts: []string{r.hostID()}, Workers: 1}
	if r.guards {
		opts.Guard = func(_ context.Context, w lun.Window) (lun.Post, error) {
			return lun.Post{
				Ready:   func() error { r.windows[p] = w; return nil },
				Dismiss: func() { delete(r.windows, p) },
			}, nil
		}
	}
	var err error
	if p.provider, err = lun.Open(context.Background(), opts); err != nil {
		r.fail("open: %v", err)
	}
	r.procs[number] = p
	return p
}

func (r *rig) hostID() string { return fmt.Sprintf("host%d", r.host) }

// close ends all processes.
func (r *rig) close() {
	for _, p := range r.procs {
		if p != nil && p.provider != nil {
			p.provider.Close()
		}
	}
}

// fail ends the test with everything that was done.
func (r *rig) fail(format string, args ...any) {
	happened := strings.Join(slices.Concat(r.trace, r.state()), "\n")
	r.t.Fatalf("%s\non %s, guards %v:\n%s", fmt.Sprintf(format, args...), r.linux, r.guards, happened)
}

// note keeps a line of what was done.
func (r *rig) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

// violated notes what is wrong where the test cannot be ended: in the middle of a call.
func (r *rig) violated(format string, args ...any) {
	if r.wrong == "" {
		r.wrong = fmt.Sprintf(format, args...)
		r.note("WRONG: %s", r.wrong)
	}
}

// trouble reports whether a drive is away or has faults.
func (r *rig) trouble() bool { return len(r.absent)+len(r.sick) > 0 }

// cut cuts the power and boots again.
func (r *rig) cut(fate blocktest.Fate) {
	r.close()
	r.forgetCached()
	if r.mem = r.mem.Cut(fate); r.cloned != "" { // it could not be told from the drive
		r.mem.Vanish(otherDisks[1])
		r.cloned = ""
	}
	for drive := range r.sick {
		r.mem.Change(drive, readOnly(false))
	}
	clear(r.sick)
	clear(r.held)
	clear(r.windows)
	r.cutOff = false
	for _, v := range r.volumes {
		v.cut()
		v.twin = uuid.Nil
	}
	r.boot()
}

// kill ends a process; whoever stands by does what he is there for, and another process starts in its place.
func (r *rig) kill(p *process) {
	p.dead.Store(true)
	p.provider.Close()
	r.cutOff = true
	window, guarded := r.windows[p]
	delete(r.windows, p)
	next := r.start(p.number)
	if !guarded {
		return
	}
	err := next.provider.Wake(context.Background(), window.LUN)
	r.note("    woken: %v", err)
	if err != nil && !r.trouble() {
		r.fail("wake: %v", err)
	}
	r.notSuspended()
}

// truth is what all drives together say after a power cut.
func (r *rig) truth(fate blocktest.Fate) map[uuid.UUID]catalog.LUN {
	return r.recordsOn(r.mem.Cut(fate), slices.Collect(maps.Keys(r.absent)))
}

// visible is what the drives say that are here and this host's.
func (r *rig) visible() map[uuid.UUID]catalog.LUN {
	return r.recordsOn(r.mem.Cut(blocktest.Kept), nil, r.hostID())
}

func (r *rig) recordsOn(mem *blocktest.Mem, back []string, hosts ...string) map[uuid.UUID]catalog.LUN {
	for _, path := range back {
		mem.Return(path)
	}
	p := r.reader(mem, hosts...)
	defer p.Close()
	records := map[uuid.UUID]catalog.LUN{}
	for _, l := range p.LUNs() {
		if props, err := l.Properties(context.Background()); err == nil && props.Foreign {
			continue
		}
		record, err := l.Record()
		if err != nil {
			r.fail("read record: %v", err)
		}
		if !record.Making { // else there is no LUN yet
			records[l.ID()] = record
		}
	}
	return records
}

// reader is a Provider on another machine with copies of these drives.
func (r *rig) reader(mem *blocktest.Mem, hosts ...string) *lun.Provider {
	opts := lun.Options{Kernel: dmtest.New(mem, r.linux), Devices: withoutOthers(mem), LockPath: r.lock, Hosts: hosts}
	p, err := lun.Open(context.Background(), opts)
	if err != nil {
		r.fail("read drives: %v", err)
	}
	return p
}

// members is records without what changes by itself.
func (r *rig) members(records map[uuid.UUID]catalog.LUN) members {
	m := members{}
	for _, all := range []map[uuid.UUID]catalog.LUN{records, made(records)} {
		for id, l := range all {
			m[l.Name] = member{id: id, size: l.Size, drives: on(r.drivesOf(l)...)}
		}
	}
	return m
}

// write writes a block of a LUN as a user does who may flush it. While the LUN has no device or is suspended it does nothing.
func (r *rig) write(id uuid.UUID, at int64, flush bool) {
	name, length := r.device(id)
	if name == "" || (at+1)*block > length {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r.stamp++
	err := r.kernel.WriteAt(ctx, name, stamped(r.stamp), at*block)
	r.note("      write %d to block %d of %s: %v", r.stamp, at, name, err)
	r.usable("write", name, err)
	r.volumes[id].cell(at).wrote(r.stamp, err == nil)
	for other, v := range r.volumes {
		if v.twin == id {
			if dev, _ := r.device(other); dev != "" {
				v.twin = uuid.Nil
			} else {
				v.cell(at).wrote(r.stamp, false)
			}
		}
	}
	if !flush || err != nil {
		return
	}
	err = r.kernel.Flush(ctx, name)
	r.usable("flush", name, err)
	if err == nil {
		r.volumes[id].flushed()
	}
}

// usable notes an error that a user gets though nothing is wrong with the drives.
func (r *rig) usable(op, name string, err error) {
	if err != nil && (errors.Is(err, dmtest.ErrHang) || !r.trouble()) {
		r.violated("%s %s: %v", op, name, err)
	}
}

// verify reads every block that a user has written.
func (r *rig) verify() {
	b := make([]byte, block)
	for _, id := range slices.SortedFunc(maps.Keys(r.volumes), compareUUIDs) {
		name, length := r.device(id)
		if name == "" {
			continue
		}
		v := r.volumes[id]
		for _, at := range slices.Sorted(maps.Keys(v.cells)) {
			if (at+1)*block > length {
				continue
			}
			err := r.kernel.ReadAt(context.Background(), name, b, at*block)
			r.usable("read", name, err)
			if err != nil {
				continue
			}
			if bad := v.cells[at].check(b); bad != "" {
				r.violated("block %d of %s (%s) %s", at, r.records[id].Name, id, bad)
			}
		}
	}
}

func compareUUIDs(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }

// activity is what goes on while plexctl is at work: users write, the kernel copies.
func (r *rig) activity() {
	ids := slices.SortedFunc(maps.Keys(r.volumes), compareUUIDs)
	switch n := r.random.IntN(10); {
	case n < 5 && len(ids) > 0:
		r.write(ids[r.random.IntN(len(ids))], r.someBlock(), n < 3)
	case n < 7:
		r.tick(1 + r.random.IntN(3))
	}
}

// someBlock is one of the few blocks that users write to: in each region the first, one in the middle, and the last.
func (r *rig) someBlock() int64 {
	const region = int64(size.MiB / block)
	return r.random.Int64N(8)*region + []int64{0, 77, region - 1}[r.random.IntN(3)]
}

func (r *rig) tick(regions int) {
	if err := r.kernel.Tick(regions); err != nil {
		r.usable("let time pass", "", err)
	}
}

// notSuspended checks that no device waits for anybody. Without the drive of the only plex that holds the data a LUN may, until
// somebody assembles.
func (r *rig) notSuspended() {
	list, err := r.kernel.List(context.Background())
	if err != nil {
		r.fail("list: %v", err)
	}
	for _, d := range list {
		info, err := r.kernel.Info(context.Background(), d.Name)
		switch waits := err == nil && info.Suspended && info.Live; {
		case waits && r.trouble():
			r.cutOff = true
		case waits:
			r.violated("%s is suspended", d.Name)
		}
	}
}

// live is whether the kernel has nothing to do for a mirror of these plexes, all of which are in order, or it is no mirror.
func (r *rig) live(l catalog.LUN) bool {
	name, _ := r.device(l.ID)
	if name == "" || l.Operation != nil || slices.ContainsFunc(l.Copies(), func(p catalog.Plex) bool { return p.Stale }) {
		return false
	}
	status, err := r.kernel.Status(context.Background(), name)
	if err != nil || len(status.Targets) != 1 || len(l.Plexes) == 1 {
		return err == nil && len(l.Plexes) == 1 && status.Targets[0].Type == "linear"
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	if err != nil || len(raid.Health) != len(l.Plexes) {
		return false
	}
	raid.Health = raid.Health[:len(l.Copies())] // a vacant plex is the last one
	return raid.Complete()
}
