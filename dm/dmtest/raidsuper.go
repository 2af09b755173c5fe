package dmtest

import (
	"errors"

	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// superBlock is how much of a metadata device the superblock has.
const superBlock = 4096

// analyse reads the superblocks and decides from them what each leg is (analyse_superblocks, super_load, super_validate,
// super_init_validation).
func (r *raid) analyse() error {
	supers := make([]raidmeta.Super, len(r.legs))
	freshest, present := -1, 0
	for i, l := range r.legs {
		if l.missing {
			continue
		}
		present++
		if err := r.readSuper(l, &supers[i]); err != nil {
			return err
		}
		if !l.faulty && (freshest < 0 || supers[i].Events > supers[freshest].Events) {
			freshest = i
		}
	}
	if present == 0 || freshest < 0 {
		return refuse("raid: Insufficient redundancy to activate array")
	}
	return r.validate(supers, supers[freshest])
}

// readSuper reads the superblock of l. A leg whose superblock cannot be read has failed.
func (r *raid) readSuper(l *leg, s *raidmeta.Super) error {
	b := make([]byte, superBlock)
	if err := l.meta.read(b, 0); err != nil {
		if errors.Is(err, ErrHang) {
			return err
		}
		l.faulty, l.detached, l.inSync = true, true, false
		return nil
	}
	if l.firstUse {
		return nil
	}
	super, err := raidmeta.DecodeSuper(b)
	switch {
	case errors.Is(err, raidmeta.ErrNoMagic):
		l.firstUse = true
	case err != nil:
		return refuse("raid: superblock not simulated: %v", err)
	case super.ArraySize != r.length || super.LegSize != r.length:
		return refuse("raid: array of %d sectors loaded with %d: not simulated", super.ArraySize, r.length)
	default:
		*s = super
	}
	return nil
}

// validate derives the state of the array from the superblocks. fresh is the authoritative one.
func (r *raid) validate(supers []raidmeta.Super, fresh raidmeta.Super) error {
	news, rebuilds := 0, len(r.options.rebuild)
	for _, l := range r.legs {
		if l.firstUse {
			news++
		}
	}
	r.created = news == len(r.legs)
	r.rewrite = news > 0
	r.events = max(fresh.Events, 1)
	if !r.created && news != rebuilds {
		return refuse("raid: New device injected into existing raid set without 'delta_disks' or 'rebuild' parameter specified")
	}
	switch {
	case r.options.nosync, rebuilds > 0:
		r.resync = never
	case r.created:
		r.resync = 0
	default:
		r.resync = fresh.ResyncOffset
	}
	for i, l := range r.legs {
		l.adopt(supers[i], fresh)
	}
	return nil
}

// adopt takes what the leg's own superblock and the authoritative one say.
func (l *leg) adopt(own, fresh raidmeta.Super) {
	if l.missing || l.faulty || l.firstUse {
		return
	}
	l.offset = own.RecoveryOffset
	l.inSync = l.offset == never
	if own.ArrayPosition < maxLegs && fresh.FailedDevices&(1<<own.ArrayPosition) != 0 {
		l.offset, l.inSync, l.returned = 0, false, true
	}
}

// update writes bitmap header and superblocks to all working legs, in md's order (md_update_sb).
func (r *raid) update() error {
	r.rewrite = false
	r.events++
	if r.bits.present {
		if err := unheard(r.persistPage(0)); err != nil {
			return err
		}
	}
	for i, l := range r.legs {
		if l.missing || l.faulty {
			continue
		}
		if err := writeThrough(l.meta, r.super(i).Encode(), 0); err != nil {
			if err := r.fail(l, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// super is the superblock of leg i now (super_sync).
func (r *raid) super(i int) raidmeta.Super {
	s := raidmeta.Super{
		NumDevices:     uint32(len(r.legs)),
		ArrayPosition:  uint32(i),
		Events:         r.events,
		RecoveryOffset: r.legs[i].offset,
		ResyncOffset:   r.resync,
		ArraySize:      r.length,
		LegSize:        r.length,
	}
	if r.legs[i].detached {
		s.ArrayPosition = raidmeta.Detached
	}
	for j, l := range r.legs {
		if l.missing || l.faulty {
			s.FailedDevices |= 1 << j
		}
	}
	return s
}

// writeThrough writes as md writes its metadata: after all that the drive below has been given before, and durably
// (REQ_PREFLUSH | REQ_FUA). md does not flush what it copied in any other way. Data on another drive
// than the metadata may be lost in a power cut, although the metadata calls it copied.
func writeThrough(to lower, b []byte, off int64) error {
	if err := to.flush(); err != nil {
		return err
	}
	if err := to.write(b, off); err != nil {
		return err
	}
	return to.flush()
}

// sectors is a number of bytes in sectors.
func sectors(bytes int64) uint64 { return uint64(size.Bytes(bytes).Sectors()) }
