package lun_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// step is one step of a sequence in numbers: what they stand for depends on what there is when it is taken.
type seqStep struct {
	Action  string
	Process int
	A, B, C int     // which LUN, which other, which drive
	Quiet   bool    // everything that runs has ended before
	Trouble trouble // what goes wrong
	At      int     // at which call, or effect
	Seed    uint64  // of what users do meanwhile
}

// trouble is what goes wrong in the middle of a call.
type trouble string

// The kinds of trouble.
const (
	troubleNone   trouble = ""
	troubleKill   trouble = "kill"    // the process dies
	troubleCut    trouble = "cut"     // the power fails
	troubleErrno  trouble = "errno"   // one call is refused
	troubleShort  trouble = "short"   // one read gives less
	troubleDrive  trouble = "fault"   // a drive gives errors from now on
	troubleSlot   trouble = "slot"    // a catalog slot gives an error once
	troubleVanish trouble = "vanish"  // a drive vanishes
	troubleOther  trouble = "process" // another process comes in between
)

// drawStep draws a step.
func drawStep(names []string) *rapid.Generator[seqStep] {
	troubles := []trouble{
		troubleNone, troubleNone, troubleNone, troubleNone, troubleNone, troubleNone, troubleOther, troubleErrno, troubleErrno, troubleKill,
		troubleKill, troubleCut, troubleShort, troubleDrive, troubleSlot, troubleVanish,
	}
	return rapid.Custom(func(t *rapid.T) seqStep {
		choice := rapid.IntRange(0, 11)
		return seqStep{
			Action: rapid.SampledFrom(names).Draw(t, "action"), Process: rapid.IntRange(0, 1).Draw(t, "process"),
			A: choice.Draw(t, "a"), B: choice.Draw(t, "b"), C: choice.Draw(t, "c"), Quiet: rapid.IntRange(0, 2).Draw(t, "quiet") > 0,
			Trouble: rapid.SampledFrom(troubles).Draw(t, "trouble"), At: rapid.IntRange(0, 63).Draw(t, "at"),
			Seed: rapid.Uint64Range(0, 1<<20).Draw(t, "seed"),
		}
	})
}

// call is one call of a Provider and what must come of it.
type call struct {
	text  string
	do    func(ctx context.Context) error
	after members    // the LUNs after success; nil: as before
	or    members    // what they may be as well when a drive is in trouble; nil: nothing else
	loose bool       // an error does not say that nothing has changed
	must  bool       // it must succeed on a machine that is in order
	part  uuid.UUID  // the LUN that a LUN is split off
	done  func()     // after success
	then  func()     // in any case
	codes []vds.Code // of its errors when nothing is wrong with the machine
}

// meddler stands in a door and lets go wrong what a step says.
type meddler struct {
	r       *rig
	p       *process
	step    seqStep
	calls   int
	effects int
	struck  bool // it has
	off     bool // the power has failed
}

func (m *meddler) pass(a ask) error {
	m.calls++
	m.r.leftAlone(a)
	if a.effect {
		m.effects++
		m.r.activity()
		if m.r.random.IntN(12) == 0 {
			m.r.photograph()
		}
	}
	if m.struck || !m.due(a) {
		return nil
	}
	m.struck = true
	m.r.tally.faults++
	m.r.note("    %s at %s %s (call %d, effect %d)", m.step.Trouble, a.kind, a.object, m.calls, m.effects)
	return m.strike(a)
}

// due reports whether the moment has come.
func (m *meddler) due(a ask) bool {
	switch m.step.Trouble {
	case troubleNone:
		return false
	case troubleErrno:
		return m.calls > m.step.At*2
	case troubleShort:
		return a.kind == "read" && m.calls > m.step.At*2
	default:
		return a.effect && m.effects > m.step.At
	}
}

func (m *meddler) strike(a ask) error {
	r := m.r
	drive := seqPath(m.step.C % seqDrives)
	switch m.step.Trouble {
	case troubleKill, troubleCut:
		m.off = m.step.Trouble == troubleCut
		m.p.dead.Store(true)
		return blocktest.ErrDead
	case troubleErrno:
		return a.refuse(someErrno(r.random, a))
	case troubleShort:
		return errShort
	case troubleDrive:
		r.harm(drive)
	case troubleSlot:
		r.spoilSlot(drive)
	case troubleVanish:
		r.vanish(drive)
	case troubleOther:
		r.intrude(r.procs[1-m.p.number])
	case troubleNone:
	}
	return nil
}

// someErrno is an errno that a kernel or a drive may well answer to what was asked.
func someErrno(random *rand.Rand, a ask) unix.Errno {
	switch a.kind {
	case "read", "write", "flush", "scan":
		return unix.EIO
	case "create", "load", "resume", "remove", "rename", "suspend", "clear":
		return []unix.Errno{unix.ENOMEM, unix.EIO, unix.EBUSY, unix.ENXIO, unix.EINVAL}[random.IntN(5)]
	}
	return []unix.Errno{unix.ENOMEM, unix.EIO, unix.EINVAL}[random.IntN(3)]
}

// harm lets a drive give errors until it is healed.
func (r *rig) harm(drive string) {
	r.drain(drive)
	r.sick[drive], r.harmed = true, true
	if r.random.IntN(4) == 0 {
		r.note("    %s is write-protected", drive)
		r.mem.Change(drive, readOnly(true))
		return
	}
	kinds := [][]string{{"read"}, {"write", "flush"}, {"read", "write", "flush"}}[r.random.IntN(3)]
	r.note("    every %v of %s fails", kinds, drive)
	for _, kind := range kinds {
		r.mem.Fail(drive, blocktest.Fault{Kind: kind})
	}
}

// drain makes durable what a drive has acknowledged, before it fails: md clears the bits of regions that were written to
// every leg shortly before one failed, so that nobody would know if that one lost them.
func (r *rig) drain(drive string) {
	info, err := r.mem.Stat(context.Background(), drive)
	if err != nil {
		return // it is away
	}
	if medium, err := r.mem.Medium(info.Dev); err == nil {
		_ = medium.Sync() // it may be failing already
	}
}

// spoilSlot lets the next access to one of the catalog slots of a drive fail.
func (r *rig) spoilSlot(drive string) {
	const slot, first = 2016 * size.KiB, 64 * size.KiB
	at := first + slot*size.Bytes(r.random.IntN(2))
	if r.random.IntN(3) == 0 {
		at += driveSize - 4*size.MiB
	}
	fault := blocktest.Fault{Kind: []string{"write", "read"}[r.random.IntN(2)], Offset: at, Length: slot, Nth: 1 + r.random.IntN(2)}
	r.note("    %s %d of %s at %s fails", fault.Kind, fault.Nth, drive, at)
	r.mem.Fail(drive, fault)
	r.sick[drive] = true
}

func (r *rig) vanish(drive string) {
	r.note("    %s vanishes", drive)
	r.drain(drive)
	if r.cloned == drive { // the clone would pass for the drive
		r.unplug(seqStep{})
	}
	r.mem.Vanish(drive)
	r.absent[drive] = true
}

// intrude lets another process do something while one is in the middle of a change.
func (r *rig) intrude(p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var err error
	switch n := r.random.IntN(4); {
	case n == 0:
		err = p.provider.Refresh(ctx)
	case n == 1:
		_, err = p.provider.Survey(ctx)
	case n == 2 || isFree(r.lock): // a change would be carried out
		err = observeAll(ctx, p)
	default:
		_, err := p.provider.CreateLUN(ctx, lun.Spec{Name: "intruder", Size: size.MiB})
		if !errors.Is(err, vds.ErrAnotherCallInProgress) {
			r.violated("a change in the middle of another: %v", err)
		}
	}
	if ctx.Err() == nil && !r.foreign() {
		r.usable("intrude", "", err)
	}
}

// observeAll looks at every operation that a process knows of.
func observeAll(ctx context.Context, p *process) error {
	var failed []error
	for _, op := range p.provider.Operations() {
		_, err := op.QueryStatus(ctx)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// take takes one step.
func (r *rig) take(s seqStep) {
	r.random = rand.New(rand.NewPCG(s.Seed, 1))
	r.tally.steps++
	r.quiet = false
	if r.random.IntN(4) == 0 {
		r.photograph()
	}
	a := seqActions()[s.Action]
	if s.Quiet && a.call != nil && !r.trouble() && !r.foreign() {
		r.quieten(r.procs[s.Process])
	}
	if a.call == nil {
		r.note("%s %d %d %d", s.Action, s.A, s.B, s.C)
		a.plain(r, s)
	} else if c := a.call(r, r.procs[s.Process], s); c != nil {
		r.perform(s, *c)
	}
	synctest.Wait()
	r.unclone()
	if !r.cutOff {
		r.notSuspended()
	}
	r.verify()
	if r.wrong != "" {
		r.fail("%s", r.wrong)
	}
}

// quieten lets everything that runs come to its end.
func (r *rig) quieten(p *process) {
	if r.quiet = r.kernel.RunToEnd() == nil; r.quiet {
		_ = p.provider.Refresh(context.Background())
		r.usable("look", "", observeAll(context.Background(), p))
		synctest.Wait()
		r.records = r.truth(blocktest.Kept)
	}
}

// perform makes a call, with what goes wrong, and checks what has come of it.
func (r *rig) perform(s seqStep, c call) {
	p := r.procs[s.Process]
	before, ill, doubt := r.members(r.records), r.trouble() || r.cutOff, r.unsure
	departing := leaving(r.records)
	twin := r.volumes[c.part]
	if twin != nil {
		twin = twin.clone()
	}
	m := &meddler{r: r, p: p, step: s}
	r.note("%s by %d", c.text, s.Process)
	err := c.do(context.WithValue(context.Background(), doorKey{}, door(m)))
	killed := p.dead.Load()
	r.note("    %v", err)
	synctest.Wait()
	switch {
	case m.off:
		r.cut(someFate(r.random))
	case killed:
		r.kill(p)
	}
	r.records = r.truth(blocktest.Kept)
	if !killed {
		r.judge(c, m, err, ill)
	}
	if c.after == nil {
		c.after = before
	}
	ill = ill || r.trouble()
	now := r.members(r.records)
	allowed, known := r.orTakenBack(r.allowed(c, before, err, killed, ill), departing), !m.off || !doubt
	if known && !slices.ContainsFunc(allowed, now.is) {
		r.fail("%s: %v\nLUNs were\n%s\nare\n%s\nwant\n%s", c.text, err, before, now, allowed)
	}
	r.adopt(c, twin)
	safe := r.members(r.truth(blocktest.Lost))
	r.unsure = !now.is(safe)
	if r.unsure && err == nil && !killed && !doubt {
		r.fail("%s: done, but a power cut takes it back:\n%s\nwould be\n%s", c.text, now, safe)
	}
	if err == nil && !killed && c.done != nil {
		c.done()
	}
	if c.then != nil {
		c.then()
	}
}

// someFate is what a power cut leaves.
func someFate(random *rand.Rand) blocktest.Fate {
	return []blocktest.Fate{blocktest.Lost, blocktest.Kept, blocktest.Torn(random), blocktest.Reordered(random)}[random.IntN(4)]
}

// allowed is what LUNs there may be after a call.
func (r *rig) allowed(c call, before members, err error, killed, ill bool) []members {
	var all []members
	if err == nil || killed || ill || c.loose {
		all = append(all, c.after)
	}
	if err != nil || killed {
		all = append(all, before)
	}
	if (ill || killed) && c.or != nil {
		all = append(all, c.or)
	}
	return all
}

// judge looks at the error of a call that ran to its end.
func (r *rig) judge(c call, m *meddler, err error, ill bool) {
	if err == nil {
		return
	}
	fault, ok := errors.AsType[*vds.Error](err)
	code := vds.CodeOf(err)
	if !ok || !strings.Contains(code.String(), "E_") {
		r.fail("%s: the error has no code: %v (%v)", c.text, err, fault)
	}
	calm := !ill && !r.trouble() && (!m.struck || m.step.Trouble == troubleOther)
	if calm && !slices.Contains(c.codes, code) {
		r.fail("%s: %v is not among its codes: %v", c.text, code, err)
	}
	if calm && c.must {
		r.fail("%s: %v (%v)", c.text, err, code)
	}
}

// adopt makes the volumes those of the LUNs that there are.
func (r *rig) adopt(c call, twin *volume) {
	there := made(r.records)
	maps.Copy(there, r.records)
	for id := range r.volumes {
		if _, ok := there[id]; !ok {
			delete(r.volumes, id)
			delete(r.held, id)
		}
	}
	for id := range there {
		if r.volumes[id] != nil {
			continue
		}
		r.volumes[id] = newVolume()
		if whole := r.volumes[c.part]; whole != nil && twin != nil {
			r.volumes[id] = whole.part(twin)
			if name, _ := r.device(id); name == "" {
				r.volumes[id].twin = c.part
			}
		}
	}
}

func (s seqStep) String() string {
	return fmt.Sprintf("{%q, %d, %d, %d, %d, %v, %q, %d, %d}", s.Action, s.Process, s.A, s.B, s.C, s.Quiet, s.Trouble, s.At, s.Seed)
}
