package lun_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// honest is the present LUNs whose records, apart from ended operations, are what all drives together say.
func (r *rig) honest() (names []string, all bool) {
	visible := r.visible()
	truth := r.members(r.records)
	for name, m := range r.members(visible) {
		if truth[name] == m {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, len(names) == len(visible)
}

func (r *rig) assemble(p *process, _ seqStep) *call {
	if _, all := r.honest(); !all {
		return nil
	}
	return r.assembling(p, "assemble", lun.AssembleOptions{}, true)
}

// nameable is the honest LUNs that can be named: those that have a record already, and are not about to be made of plexes that leave.
func (r *rig) nameable() []string {
	visible := r.visible()
	names, _ := r.honest()
	return slices.DeleteFunc(names, func(name string) bool {
		for _, l := range visible {
			if l.Name == name {
				return false
			}
		}
		return true
	})
}

func (r *rig) assembleOne(p *process, s seqStep) *call {
	names := r.nameable()
	if len(names) == 0 {
		return nil
	}
	name := names[s.A%len(names)]
	return r.assembling(p, "assemble "+name, lun.AssembleOptions{LUNs: []string{name}}, false)
}

// assembling is a call of Assemble. It must succeed for every LUN once all drives are present and work.
func (r *rig) assembling(p *process, text string, opts lun.AssembleOptions, all bool) *call {
	c := &call{text: text, must: true, codes: changeCodes()}
	if r.foreign() {
		c.must = false
	}
	if !all && r.cutOff {
		c.must = false // another LUN may hold what this one needs
	}
	c.do = func(ctx context.Context) error {
		results, err := p.provider.Assemble(ctx, opts)
		return errors.Join(err, resultErrors(r.known(results)))
	}
	c.done = func() { r.cutOff = r.cutOff && !all }
	return c
}

// foreign reports whether a drive that is here is another host's.
func (r *rig) foreign() bool {
	p := r.reader(r.mem.Cut(blocktest.Kept))
	defer p.Close()
	return slices.ContainsFunc(p.Drives(), func(d lun.Drive) bool { return d.Label.Host != r.hostID() })
}

// force starts a LUN without plexes that may be newer, which from then on are not.
func (r *rig) force(p *process, s seqStep) *call {
	names := r.nameable()
	if len(names) == 0 || len(r.absent) == 0 || !r.changeable() {
		return nil
	}
	name := names[s.A%len(names)]
	id := r.members(r.records)[name].id
	if dev, _ := r.device(id); dev != "" {
		return nil
	}
	c := r.assembling(p, "assemble by force "+name, lun.AssembleOptions{LUNs: []string{name}, Force: true}, false)
	do := c.do
	c.do = func(ctx context.Context) error {
		r.volumes[id].forced()
		return do(ctx)
	}
	return c
}

func (r *rig) deactivate(p *process, s seqStep) *call {
	var refs []string
	if l, _ := r.pick(p, s.A); l != nil && s.B%2 == 0 {
		refs = []string{l.ID().String()}
	}
	return &call{
		text: fmt.Sprintf("deactivate %v", refs),
		do: func(ctx context.Context) error {
			results, err := p.provider.Deactivate(ctx, refs...)
			return errors.Join(err, resultErrors(results))
		},
		codes: []vds.Code{vds.ErrDeviceInUse, vds.ErrObjectNotFound, vds.ErrProviderCacheCorrupt},
	}
}

func (r *rig) reenumerate(p *process, _ seqStep) *call {
	if _, all := r.honest(); !all {
		return nil
	}
	return &call{
		text: "reenumerate", must: !r.foreign(), codes: changeCodes(),
		do: func(ctx context.Context) error {
			results, err := p.provider.Reenumerate(ctx)
			return errors.Join(err, resultErrors(results))
		},
	}
}

func (r *rig) takeOver(p *process, _ seqStep) *call {
	return &call{
		text: "take over", must: true,
		do: func(ctx context.Context) error { _, err := p.provider.TakeOver(ctx, r.ownPaths()...); return err },
	}
}

func (r *rig) observe(p *process, _ seqStep) *call {
	return &call{text: "look", do: func(ctx context.Context) error { return observeAll(ctx, p) }}
}

// wait compares plexes whose end nothing else tells. They are equal, unless a drive could not be read while it was copied.
func (r *rig) wait(p *process, _ seqStep) *call {
	c := &call{text: "wait", do: func(ctx context.Context) error { return r.waitForChecks(ctx, p.provider) }}
	if r.harmed {
		c.codes = []vds.Code{vds.ErrIO}
	}
	return c
}

// waitForChecks looks at every operation, and waits for those of which only a comparison of the plexes tells the end.
func (r *rig) waitForChecks(ctx context.Context, p *lun.Provider) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var failed []error
	for _, op := range p.Operations() {
		status, err := op.QueryStatus(ctx)
		if err == nil && status.State == resync.Checking {
			err = op.Wait(ctx)
			r.note("    %s was checked: %v", op.ID, err)
			r.tally.checks++
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// growDrive makes the device of a drive larger, and then the drive. The drive may be away.
func (r *rig) growDrive(p *process, s seqStep) *call {
	drive, more := seqPath(s.C%seqDrives), size.Bytes(1+s.B%6)*size.MiB
	r.mem.Change(drive, func(i *blockdev.Info) { i.Size += more })
	return &call{
		text: fmt.Sprintf("grow %s by %s", drive, more), must: r.quiet && !r.foreign() && !r.absent[drive],
		do:    func(ctx context.Context) error { return p.provider.GrowDrive(ctx, drive) },
		codes: []vds.Code{vds.ErrObjectNotFound, vds.ErrAccessDenied},
	}
}
