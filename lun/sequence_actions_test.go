package lun_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// seqAction is a kind of step: a call of a Provider, or something that happens to the machine. A call that fits nothing that
// there is, is nil.
type seqAction struct {
	weight int
	call   func(r *rig, p *process, s seqStep) *call
	plain  func(r *rig, s seqStep)
}

// seqActions is all kinds of steps.
func seqActions() map[string]seqAction {
	return map[string]seqAction{
		"create": {4, (*rig).create, nil}, "delete": {3, (*rig).remove, nil}, "attach": {12, (*rig).attach, nil},
		"attach new": {5, (*rig).attachNew, nil}, "cancel": {5, (*rig).cancel, nil}, "remove plex": {5, (*rig).removePlex, nil},
		"split": {5, (*rig).split, nil}, "recover": {7, (*rig).recover, nil}, "extend": {4, (*rig).extend, nil},
		"rename": {3, (*rig).rename, nil}, "rate": {4, (*rig).setRate, nil}, "assemble": {8, (*rig).assemble, nil},
		"assemble one": {3, (*rig).assembleOne, nil}, "force": {2, (*rig).force, nil}, "deactivate": {4, (*rig).deactivate, nil},
		"scan": {4, (*rig).scan, nil}, "end scan": {2, (*rig).endScan, nil}, "reenumerate": {3, (*rig).reenumerate, nil}, "take over": {2, (*rig).takeOver, nil}, "grow": {2, (*rig).growDrive, nil}, "repair": {3, (*rig).repairDrive, nil}, "look": {5, (*rig).observe, nil},
		"wait": {3, (*rig).wait, nil}, "restore": {10, (*rig).restore, nil}, "apart": {4, (*rig).useApart, nil}, "choose": {4, (*rig).choose, nil}, "roll back": {4, (*rig).rollBack, nil},

		"nothing": {0, nil, func(*rig, seqStep) {}},
		"write":   {8, nil, (*rig).writes}, "tick": {8, nil, (*rig).ticks}, "age": {2, nil, (*rig).age}, "hold": {2, nil, (*rig).hold},
		"refresh": {4, nil, (*rig).refresh}, "restart": {3, nil, (*rig).restart}, "power cut": {3, nil, (*rig).powerCut},
		"move": {1, nil, (*rig).move}, "break": {3, nil, (*rig).breaks}, "heal": {5, nil, (*rig).heal},
		"vanish": {4, nil, (*rig).vanishes}, "return": {6, nil, (*rig).returns},
		"plug": {3, nil, (*rig).plug}, "clone": {3, nil, (*rig).clone}, "unplug": {3, nil, (*rig).unplug},
	}
}

// changeCodes is the codes that a change of a LUN has when nothing is wrong with the machine; see docs/vds.md.
func changeCodes(more ...vds.Code) []vds.Code {
	return append(more, vds.ErrObjectDeleted, vds.ErrObjectNotFound, vds.ErrObjectStatusFailed, vds.ErrAnotherCallInProgress,
		vds.ErrDiskConfigurationNotSync, vds.ErrProviderCacheCorrupt, vds.ErrInvalidOperation, vds.ErrAccessDenied)
}

// pick is one of the LUNs that a process knows of, whether there still is such a one or not.
func (r *rig) pick(p *process, n int) (*lun.LUN, catalog.LUN) {
	all := slices.DeleteFunc(p.provider.LUNs(), func(l *lun.LUN) bool {
		now, err := l.Record()
		return err == nil && now.Making // there is no LUN yet
	})
	if len(all) == 0 {
		return nil, catalog.LUN{}
	}
	l := all[n%len(all)]
	return l, r.records[l.ID()]
}

// changeable reports whether the present drives have the newest record of every LUN. Otherwise the sequence makes no change:
// there would be two histories when the missing drives come back.
func (r *rig) changeable() bool {
	if len(r.absent) == 0 {
		return true
	}
	for id, l := range r.visible() {
		if r.records[id].Generation != l.Generation {
			return false
		}
	}
	return true
}

// inOrder reports whether a valid call on these LUNs must succeed.
func (r *rig) inOrder(luns ...catalog.LUN) bool {
	return r.quiet && !slices.ContainsFunc(luns, func(l catalog.LUN) bool { return r.records[l.ID].ID == uuid.Nil || !r.live(l) || r.held[l.ID] != nil })
}

func (r *rig) create(p *process, s seqStep) *call {
	if !r.changeable() {
		return nil
	}
	r.named++
	name, length := fmt.Sprintf("lun%d", r.named), size.Bytes(2+s.B%3)*size.MiB
	spec := lun.Spec{Name: name, Size: length, Drives: []string{seqPath(s.C % seqDrives)}, Track: s.B%2 == 0}
	return &call{
		text:  fmt.Sprintf("create %s of %s on %s, tracked %v", name, length, spec.Drives[0], spec.Track),
		do:    func(ctx context.Context) error { _, err := p.provider.CreateLUN(ctx, spec); return err },
		after: r.members(r.records).with(name, member{size: length.Sectors(), drives: on(spec.Drives...)}),
		codes: []vds.Code{vds.ErrNotEnoughSpace, vds.ErrProviderCacheCorrupt, vds.ErrAccessDenied},
	}
}

func (r *rig) remove(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() || len(r.records) < 3 {
		return nil
	}
	return &call{
		text: "delete " + l.Name(), do: l.Delete, after: r.members(r.records).without(record.Name), loose: true,
		must: r.inOrder(record), codes: changeCodes(vds.ErrDeviceInUse),
	}
}

func (r *rig) attach(p *process, s seqStep) *call {
	target, t := r.pick(p, s.A)
	source, f := r.pick(p, s.A+1+s.B)
	if target == nil || !r.changeable() {
		return nil
	}
	opts := lun.AttachOptions{Now: s.C%2 == 0, Rate: []size.Bytes{0, 0, lun.Paused, size.MiB}[s.C%4]}
	return &call{
		text:  fmt.Sprintf("attach %s to %s, rate %s", source.Name(), target.Name(), opts.Rate),
		do:    func(ctx context.Context) error { _, err := target.AddPlex(ctx, source.ID(), opts); return err },
		after: r.absorbed(t, f),
		must:  r.inOrder(t, f) && t.ID != f.ID && f.Size >= t.Size && r.apart(t, f),
		codes: changeCodes(vds.ErrDeviceInUse),
	}
}

// absorbed is the LUNs after f became a plex of t.
func (r *rig) absorbed(t, f catalog.LUN) members {
	all := r.members(r.records)
	to := all[t.Name]
	to.drives = on(append(r.drivesOf(t), r.drivesOf(f)...)...)
	return all.without(f.Name).with(t.Name, to)
}

// drivesOf is the drives that the plexes of a LUN lie on.
func (r *rig) drivesOf(l catalog.LUN) []string {
	var drives []string
	for _, p := range l.Copies() {
		drives = append(drives, r.paths[p.Meta.Drive])
	}
	return drives
}

// apart reports whether two LUNs share no drive.
func (r *rig) apart(a, b catalog.LUN) bool {
	return !slices.ContainsFunc(r.drivesOf(a), func(d string) bool { return slices.Contains(r.drivesOf(b), d) })
}

func (r *rig) attachNew(p *process, s seqStep) *call {
	target, t := r.pick(p, s.A)
	if target == nil || !r.changeable() {
		return nil
	}
	drive := seqPath(s.C % seqDrives)
	return &call{
		text: fmt.Sprintf("attach a new plex on %s to %s", drive, target.Name()),
		do: func(ctx context.Context) error {
			_, err := target.AddNewPlex(ctx, []string{drive}, lun.AttachOptions{})
			return err
		},
		after: r.onDrives(t, append(r.drivesOf(t), drive)),
		codes: changeCodes(vds.ErrNotEnoughSpace, vds.ErrNotSupported),
	}
}

// onDrives is the LUNs after the plexes of l are on these drives.
func (r *rig) onDrives(l catalog.LUN, drives []string) members {
	all := r.members(r.records)
	m := all[l.Name]
	m.drives = on(drives...)
	return all.with(l.Name, m)
}

func (r *rig) cancel(p *process, _ seqStep) *call {
	if !r.changeable() {
		return nil
	}
	for _, op := range p.provider.Operations() {
		l := r.records[op.LUN]
		if l.Operation == nil || l.Operation.ID != op.ID || l.Operation.Type != vds.AsyncAddLUNPlex {
			continue
		}
		without, after := r.cancelled(l)
		return &call{
			text: "cancel the operation of " + l.Name, do: op.Cancel, after: after, or: without,
			codes: changeCodes(vds.ErrCancelTooLate, vds.ErrOperationCanceled),
		}
	}
	return nil
}

// cancelled is the LUNs after the cancel of l's operation: without its source, which a drive that has broken may not give
// back, and with it.
func (r *rig) cancelled(l catalog.LUN) (without, with members) {
	kept := l
	kept.Plexes = slices.DeleteFunc(slices.Clone(l.Copies()), func(p catalog.Plex) bool { return slices.Contains(l.Operation.Plexes, p.ID) })
	without = r.onDrives(l, r.drivesOf(kept))
	source := l.Operation.Source
	if source == nil {
		return without, without
	}
	return without, without.with(source.Name, member{id: source.ID, size: source.Size, drives: on(r.drivesOf(*source)...)})
}

// pickPlex is one of the plexes of a LUN, and the LUN without it.
func pickPlex(l catalog.LUN, n int) (uuid.UUID, catalog.LUN) {
	copies := l.Copies()
	if len(copies) == 0 {
		return uuid.Nil, l
	}
	p := copies[n%len(copies)].ID
	l.Plexes = slices.DeleteFunc(slices.Clone(copies), func(other catalog.Plex) bool { return other.ID == p })
	return p, l
}

func (r *rig) removePlex(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	plex, rest := pickPlex(record, s.B)
	return &call{
		text:  fmt.Sprintf("remove plex %d of %s", s.B%max(1, len(record.Copies())), l.Name()),
		do:    func(ctx context.Context) error { _, err := l.RemovePlex(ctx, plex); return err },
		after: r.onDrives(record, r.drivesOf(rest)),
		must:  r.inOrder(record) && len(record.Copies()) > 1, codes: changeCodes(vds.ErrPlexLastActive),
	}
}

func (r *rig) split(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	plex, rest := pickPlex(record, s.B)
	r.named++
	name := fmt.Sprintf("part%d", r.named)
	after := r.onDrives(record, r.drivesOf(rest))
	if copies := record.Copies(); len(copies) > 0 {
		drive := r.paths[copies[s.B%len(copies)].Meta.Drive]
		after = after.with(name, member{size: record.Size, drives: drive})
	}
	return &call{
		text: fmt.Sprintf("split plex %d of %s off as %s", s.B%max(1, len(record.Copies())), l.Name(), name), part: l.ID(),
		do:    func(ctx context.Context) error { _, err := l.Split(ctx, plex, name); return err },
		after: after, must: r.inOrder(record) && len(record.Copies()) > 1, codes: changeCodes(vds.ErrPlexLastActive),
		loose: true, // its second commit may have failed
	}
}

func (r *rig) recover(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	return &call{
		text: "recover " + l.Name(),
		do:   func(ctx context.Context) error { _, err := l.Recover(ctx); return err },
		must: r.inOrder(record) && len(record.Copies()) > 1, codes: changeCodes(),
	}
}

func (r *rig) extend(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	more := size.Bytes(1+s.B%2) * size.MiB
	all := r.members(r.records)
	grown := all[record.Name]
	grown.size += more.Sectors()
	return &call{
		text:  fmt.Sprintf("extend %s by %s", l.Name(), more),
		do:    func(ctx context.Context) error { _, err := l.Extend(ctx, more, nil); return err },
		after: all.with(record.Name, grown), codes: changeCodes(vds.ErrNotEnoughSpace, vds.ErrNotSupported),
	}
}

func (r *rig) scan(p *process, s seqStep) *call {
	l, _ := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	drive := seqPath(s.C % seqDrives)
	return &call{
		text:  fmt.Sprintf("scan %s for a plex on %s", l.Name(), drive),
		do:    func(ctx context.Context) error { return l.Scan(ctx, lun.ScanOptions{Drives: []string{drive}}) },
		loose: true, codes: changeCodes(vds.ErrNotEnoughSpace, vds.ErrNotSupported, vds.ErrOperationCanceled),
	}
}

func (r *rig) endScan(p *process, s seqStep) *call {
	l, _ := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	return &call{text: "end the scan of " + l.Name(), do: l.EndScan, codes: changeCodes()}
}

func (r *rig) rename(p *process, s seqStep) *call {
	l, record := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	r.named++
	name := fmt.Sprintf("name%d", r.named)
	all := r.members(r.records)
	return &call{
		text:  fmt.Sprintf("rename %s to %s", l.Name(), name),
		do:    func(ctx context.Context) error { return l.Rename(ctx, name) },
		after: all.without(record.Name).with(name, all[record.Name]), must: r.inOrder(record), codes: changeCodes(),
	}
}

func (r *rig) setRate(p *process, s seqStep) *call {
	l, _ := r.pick(p, s.A)
	if l == nil || !r.changeable() {
		return nil
	}
	rate := []size.Bytes{lun.Paused, lun.Unlimited, size.MiB}[s.B%3]
	return &call{
		text:  fmt.Sprintf("set rate of %s to %s", l.Name(), rate),
		do:    func(ctx context.Context) error { return l.SetRate(ctx, rate) },
		codes: changeCodes(),
	}
}
