package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Assemble brings the kernel to the state in the catalogs, for the LUNs that refs name, or for all. With force it starts a
// named LUN even if plexes are missing that may be newer.
func Assemble(ctx context.Context, env *Env, refs []string, force bool) ([]Result, error) {
	return env.changeMany(ctx, "assemble", refs, func(ctx context.Context, s *Session, chosen []catalog.LUN) ([]Result, error) {
		if force && len(refs) == 0 {
			return nil, &vds.Error{Code: vds.ErrInvalidArg, Op: "assemble", Object: "by force", Reason: "no LUN is named"}
		}
		repairDrives(ctx, s)
		named := len(refs) > 0
		chosen, unmade := s.unmakeChosen(ctx, chosen, named)
		results, err := assemble(ctx, s, chosen, named, force)
		return append(unmade, results...), err
	})
}

// assemble starts with the LUNs that have the most devices, because others may need the space that they release. LUNs that only
// need their devices come last, several at a time.
func assemble(ctx context.Context, s *Session, chosen []catalog.LUN, named, force bool) ([]Result, error) {
	all, err := s.Observe(ctx)
	if err != nil {
		return nil, err
	}
	used := layout.UsesOf(all)
	slices.SortStableFunc(chosen, func(a, b catalog.LUN) int { return len(all[b.ID]) - len(all[a.ID]) })
	results := make([]Result, 0, len(chosen))
	run := func(s *Session, l catalog.LUN) Result {
		err := refuseNamesake(s, l, named || len(all[l.ID]) > 0)
		if err == nil {
			err = start(ctx, s, l, all[l.ID], used, force)
		}
		if errors.Is(err, vds.ErrMediaWriteProtected) { // a drive has just refused its first write: now it counts as missing
			err = start(ctx, s, l, all[l.ID], used, force)
		}
		if err == nil {
			err = noteLosses(ctx, s, l)
		}
		return result("assemble", l, err)
	}
	var idle []catalog.LUN
	for _, l := range chosen {
		if needsOnlyDevices(s, l, all[l.ID], used) && refuseNamesake(s, l, named) == nil {
			idle = append(idle, l)
		} else {
			results = append(results, run(s, l))
		}
	}
	for i, r := range startIdle(ctx, s, idle) {
		if errors.Is(r.Err, vds.ErrMediaWriteProtected) {
			r = run(s, idle[i])
		} else if r.Err == nil {
			r = result("assemble", idle[i], noteLosses(ctx, s, idle[i]))
		}
		results = append(results, r)
	}
	return results, nil
}

// noteLosses records that a plex is stale if the kernel has dropped it and no metadata says so yet. When a leg fails just before
// the table is loaded, Linux 6.1 writes that down only some time after the first write. A power cut before that would hide it.
func noteLosses(ctx context.Context, s *Session, l catalog.LUN) error {
	l = s.Current(l)
	if len(l.Plexes) == 1 || s.Dry != nil {
		return nil
	}
	status, mirrored, err := s.RaidStatus(ctx, l)
	if err != nil || !mirrored {
		return err
	}
	roles := s.Roles(l)
	if raid1.Lost(roles, status) == 0 {
		return nil
	}
	reads, err := s.ReadSlots(ctx, l)
	if err != nil {
		return err
	}
	next, unnoted := raid1.NoteLosses(l, roles, status, reads)
	if !unnoted {
		return nil
	}
	_, err = s.Amend(ctx, "start", l, next, "plexes of "+l.Name+" that failed at its start are out of date", nil)
	return err
}

// needsOnlyDevices reports whether the start of l only makes devices, and begins its run. It needs nothing that belongs to another
// LUN.
func needsOnlyDevices(s *Session, l catalog.LUN, had layout.View, used layout.Uses) bool {
	return len(had) == 0 && !l.Making && l.Departure == nil && l.Operation == nil && !l.Wipe && s.Unusable("", l) == nil && len(s.AbsentDrives(l)) == 0 &&
		len(used.Others(l, s.At)) == 0
}

// refuseNamesake refuses to start a LUN whose name another LUN has, too, unless the user has named it. Users know a LUN by the name
// of its device, and must not get another one there.
func refuseNamesake(s *Session, l catalog.LUN, named bool) error {
	if named || s.Set.Unheard(l.ID) {
		return nil
	}
	for _, other := range s.Set.LUNs {
		if other.ID != l.ID && other.Name == l.Name && !s.Set.Unheard(other.ID) {
			return &vds.Error{
				Code: vds.ErrNameNotUnique, Op: "start", Object: record.LUNObject(l.Name),
				Reason: fmt.Sprintf("%s and %s have this name", l.ID, other.ID),
				Hint:   "rename one of them by its GUID: `plexctl lun rename`; or start one: `plexctl assemble GUID`",
			}
		}
	}
	return nil
}

// freeName is the remedy when another device has the name of a LUN's device.
const freeName = "rename the LUN, or remove that device if nothing needs it"

// start brings one LUN up. had is what the kernel had of it. used finds extents that devices of other LUNs still use.
func start(ctx context.Context, s *Session, l catalog.LUN, had layout.View, used layout.Uses, force bool) error {
	if s.Set.Unheard(l.ID) {
		return s.Unusable("start", l)
	}
	l, err := s.conclude(ctx, l, parting{activate: true, force: force})
	if err != nil {
		return err
	}
	if l, err = admit(ctx, s, l, had.Own(l.ID).Live, force); err != nil {
		return err
	}
	if err := refuseOverlap(ctx, s, l, used); err != nil {
		return err
	}
	if l, err = s.FinishWipe(ctx, l); err != nil {
		return err
	}
	if had.Own(l.ID).Suspended {
		if l, _, err = s.ResumeOrphan(ctx, l); err != nil {
			return err
		}
	}
	if _, exists := had[layout.LUNUUID(l.ID)]; !exists {
		if err := s.CheckNames("start", l.Name, l, freeName); err != nil {
			return err
		}
	}
	if err := s.BringUp(ctx, l); err != nil {
		return err
	}
	if err := showName(ctx, s, l, had); err != nil {
		return err
	}
	return Dequeue(ctx, s, s.Current(l)) // to bring it up may have taken a commit
}

// showName makes the name in /dev of a device that a killed process may have left without. A device that has just been made has
// its name.
func showName(ctx context.Context, s *Session, l catalog.LUN, had layout.View) error {
	if _, exists := had[layout.LUNUUID(l.ID)]; !exists || s.Dry != nil {
		return nil
	}
	name := layout.Change{Want: s.Wants(l), Have: had, At: s.At}.TopName()
	if wanted := layout.LUNName(l.Name); name != wanted {
		s.Log.WarnContext(ctx, "the LUN works under an old name, because another device has its name", "lun", l.Name, "device", name, "taken", wanted)
	}
	return s.Kernel.Name(ctx, name, layout.VisibilityOf(l))
}

// admit is l with the record for its start, or the reason why it must not be started. A live LUN has been started already.
func admit(ctx context.Context, s *Session, l catalog.LUN, live, force bool) (catalog.LUN, error) {
	if live {
		if err := s.Unusable("start", l); err != nil {
			return l, err
		}
		return l, nil
	}
	if why := Startable(ctx, s.Host, l); why != nil {
		if !force {
			return l, why
		}
		var err error
		if l, err = forceStart(ctx, s, l, why); err != nil {
			return l, err
		}
	}
	if s.Roles(l).Has(record.AbsentTarget) { // its operation would fail at once after the start
		return s.recordEnd(ctx, l, vds.ErrObjectStatusFailed)
	}
	return l, nil
}

// Startable is the reason why an inactive LUN must not be started; nil when it may be. A plex takes no part if its drive is
// missing or cannot be used. The metadata of the others must say that such a plex has failed. Otherwise it may be newer.
func Startable(ctx context.Context, h *host.Host, l catalog.LUN) *vds.Error {
	if err := h.Unusable("start", l); err != nil {
		return err
	}
	if l.Departure != nil {
		if _, why := partingOf(ctx, h, l); why != nil {
			return why
		}
	}
	absent := h.AbsentDrives(l)
	if len(absent) == 0 {
		return readable(ctx, h, l)
	}
	reason := h.Absence(l, absent[0])
	failed := record.LUNFault(reason.Code, "start", l.Name, reason.Error(), reason.Hint)
	if len(l.Copies()) == 1 {
		return failed
	}
	reads, err := h.ReadSlots(ctx, l)
	if err != nil {
		return &vds.Error{Code: vds.ErrIO, Op: "start", Object: record.LUNObject(l.Name), Err: err}
	}
	roles := h.Roles(l)
	slots := raid1.Weigh(l, roles, reads).Slots
	if roles.Has(record.Source) && raid1.MaybeNewer(roles, slots) {
		failed.Reason += ", and its plex may be newer than those that are here"
		failed.Hint = strings.TrimSuffix(failed.Hint, " and run `plexctl assemble`") +
			"; to start without what only it has: `plexctl assemble --force " + l.Name + "`"
		return failed
	}
	if sources, _ := raid1.Sources(l, roles, slots); len(sources) == 0 {
		failed.Reason += ", and no plex that is here holds all of the data"
		return failed
	}
	return nil
}

// readable is the reason why l, all of whose drives are here, must not be started: none of its plexes can be believed.
func readable(ctx context.Context, h *host.Host, l catalog.LUN) *vds.Error {
	if len(l.Plexes) == 1 || l.Wipe { // its metadata is written anew
		return nil
	}
	reads, err := h.ReadSlots(ctx, l)
	if err == nil {
		_, err = raid1.Start(l, h.Roles(l), reads)
	}
	if err == nil {
		return nil
	}
	if why, ok := errors.AsType[*vds.Error](err); ok {
		return why
	}
	return &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "start", Object: record.LUNObject(l.Name), Err: err}
}

// forceStart is l with the record for a start by force: every missing plex is stale. If no present plex is in sync by its
// metadata, the source is the newest that the record calls complete. why is the reason for which the start needs force. If all
// plexes lie on drives that have become too small for their labels and still have all of it, l stays as it is.
func forceStart(ctx context.Context, s *Session, l catalog.LUN, why *vds.Error) (catalog.LUN, error) {
	if s.Unusable("", l) != nil {
		return l, why
	}
	if !s.Roles(l).Has(record.Source) && s.TrustShrunk(l) {
		return l, nil
	}
	reads, err := s.ReadSlots(ctx, l)
	if err != nil {
		return l, err
	}
	roles := s.Roles(l)
	sources, _ := raid1.Sources(l, roles, raid1.Weigh(l, roles, reads).Slots)
	next, left := record.Force(l, roles)
	if !left || len(l.Copies()) == 1 {
		return l, why
	}
	var first []layout.Step
	if len(sources) == 0 {
		if best := raid1.Best(l, roles, reads); best >= 0 {
			next, _ = record.SoleHolder(next, l.Plexes[best].ID)
		}
		next = afresh(s, next)
		first = append(first, engine.RewriteMeta{LUN: next})
	}
	next = record.Fork(next, l, uuid.New())
	return s.Amend(ctx, "start", l, next, "plexes of "+l.Name+" that are missing are out of date", first)
}
