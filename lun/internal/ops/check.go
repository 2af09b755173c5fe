package ops

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Checks that several verbs share. Each adds its reasons against the verb. The first reason gives the code, so the order of the
// checks is the precedence of the codes.

// checkName refuses a name that is not valid for a LUN, that another LUN has, or that reads as a GUID. It also refuses the name
// of a LUN that has become a plex while a cancel can still give that back.
func checkName(s *Session, op, name string) error {
	refused := record.LUNFault(vds.ErrNameNotUnique, op, name, "the name is taken", "")
	for _, l := range s.Set.LUNs {
		if s.Set.Unheard(l.ID) {
			continue
		}
		if l.Name == name {
			return refused
		}
		if d := l.Departure; d != nil && d.Made != nil && d.Made.Name == name {
			refused.Reason = fmt.Sprintf("the name belongs to the LUN that is being made of a plex of %s", record.LUNObject(l.Name))
			refused.Hint = partHint
			return refused
		}
		if o := l.Operation; o != nil && o.Source != nil && o.Source.Name == name {
			refused.Reason = fmt.Sprintf("the name belongs to the LUN that is becoming a plex of %s, and a cancel gives that back", record.LUNObject(l.Name))
			refused.Hint = cancelHint(l)
			return refused
		}
	}
	if !catalog.ValidName(name) {
		return record.LUNFault(vds.ErrInvalidArg, op, name,
			"a LUN cannot have this name",
			fmt.Sprintf("up to %d letters, digits, '.', '_' and '-', the first a letter or a digit", catalog.MaxName))
	}
	if record.ReadsAsGUID(name) {
		return record.LUNFault(vds.ErrInvalidArg, op, name,
			fmt.Sprintf("the name reads as a GUID or as the beginning of one: %d or more hexadecimal digits", record.MinDigits),
			"put another letter, a dot or an underscore into it, such as lun-"+name)
	}
	return nil
}

// checkRelease adds a reason when the kernel is known to hurt mirrors.
func checkRelease(s *Session, why *fault.Reasons) {
	if f, bad := dm.FaultOf(s.Release); bad && !s.AnyKernel {
		why.Add(vds.ErrNotSupported, "use another kernel, or add --force if yours has the fix; see "+f.Link, "Linux %s: %s", s.Release, f.Text)
	}
}

// checkUsable adds a reason when a drive of l is missing or cannot be used, or its records conflict.
func checkUsable(s *Session, l catalog.LUN, why *fault.Reasons) {
	if checkRecords(s, l, why); s.Set.Unheard(l.ID) {
		return
	}
	for _, id := range s.AbsentDrives(l) {
		reason := s.Absence(l, id)
		if s.Absent(id) && s.Lack(id).Standing == "" {
			reason.Hint = "attach the drive and try again"
		}
		why.Add(reason.Code, reason.Hint, "%s: %s", record.LUNObject(l.Name), reason.Error())
	}
}

// checkRecords adds a reason when the records of l conflict, or do not count.
func checkRecords(s *Session, l catalog.LUN, why *fault.Reasons) {
	if err := s.Unusable("", l); err != nil {
		why.Add(err.Code, cmp.Or(err.Hint, "see `plexctl status`"), "%v", err)
	}
}

// checkScan adds a reason when a scan of l has begun.
func checkScan(l catalog.LUN, why *fault.Reasons) {
	if l.Scan != uuid.Nil {
		why.Add(vds.ErrAnotherCallInProgress, scanHint(l), "%s: a scan of it has begun", record.LUNObject(l.Name))
	}
}

// checkIdle adds a reason when an operation runs on l.
func checkIdle(l catalog.LUN, why *fault.Reasons) {
	if l.Operation != nil {
		why.Add(vds.ErrAnotherCallInProgress, cancelHint(l), "%s: %s is running", record.LUNObject(l.Name), l.Operation.Type)
	}
}

// checkRunning adds a reason when a LUN has no device, or another table than its record wants. It also adds one when the kernel
// copies between the plexes of a LUN that has no operation.
func checkRunning(s *Session, l catalog.LUN, have engine.State, why *fault.Reasons) {
	if !have.Active() {
		why.Add(vds.ErrObjectStatusFailed, "run `plexctl assemble`", "%s is not active", record.LUNObject(l.Name))
	}
	if l.Operation == nil && have.Legs.Busy() {
		why.Add(vds.ErrAnotherCallInProgress, "wait until `plexctl status` shows it healthy",
			"%s: its plexes are being made equal", record.LUNObject(l.Name))
	}
	checkKernel(s, l, have, why)
}

// checkKernel adds a reason when the kernel runs another table than the record wants. A leg may still be in the table after its
// plex has failed or its drive has gone.
func checkKernel(s *Session, l catalog.LUN, have engine.State, why *fault.Reasons) {
	roles := raid1.RolesBeside(l, s.Roles(l), have.Legs)
	for i, p := range l.Plexes {
		if _, leg := have.Legs.Health[p.ID]; leg {
			roles[i] = record.Source
		}
	}
	c := layout.Change{Want: layout.Of(l, roles), Have: have.View, At: s.At}
	if have.Active() && !c.Satisfied() {
		why.Add(vds.ErrProviderCacheCorrupt, raid1.CacheHint, "%s: the kernel has another table than the catalog", record.LUNObject(l.Name))
	}
}

// inspectQuiet is Inspect for a verb that needs l active, in the state of its record, with nothing to be copied. It fails with
// the reasons so far and those that it adds.
func inspectQuiet(ctx context.Context, s *Session, l catalog.LUN, why *fault.Reasons) (engine.State, error) {
	if err := why.Err(); err != nil {
		return engine.State{}, err
	}
	have, err := s.Inspect(ctx, l)
	if err != nil {
		return have, err
	}
	checkRunning(s, l, have, why)
	return have, nil
}

// checkKind adds a reason when the kernel's raid target cannot use a device of this kind.
func checkKind(info blockdev.Info, why *fault.Reasons) {
	if info.ReadOnly {
		why.AddError(fault.Protected("", info.Path))
	}
	for kind, is := range map[string]bool{
		"zoned": info.Zoned, "a DAX device": info.DAX, "integrity-protected": info.Integrity,
	} {
		if is {
			why.Add(vds.ErrNotSupported, "", "%s is %s, which the kernel's raid target does not support", info.Path, kind)
		}
	}
}

// checkBlocks adds a reason when drives for new extents of l have larger logical blocks than its users rely on.
func checkBlocks(s *Session, l catalog.LUN, have size.Bytes, why *fault.Reasons) {
	for _, id := range l.Drives() {
		if d, ok := s.Drives[id]; ok && have != 0 && d.Info.LogicalBlock > have {
			why.Add(vds.ErrInvalidSectorSize, "use drives with logical blocks of that size", "%s has logical blocks of %d bytes, the LUN was made with %d",
				d.Info.Path, d.Info.LogicalBlock, have)
		}
	}
}

// refuseTaken refuses to use extents of l, some of them new, that a device of another LUN still writes to. A change of that LUN
// was interrupted between its commit and its swap. Devices of the LUNs in but are allowed there.
func refuseTaken(ctx context.Context, s *Session, l catalog.LUN, but ...uuid.UUID) error {
	all, err := s.Observe(ctx, but...)
	if err != nil {
		return err
	}
	return refuseOverlap(ctx, s, l, layout.UsesOf(all))
}

// refuseOverlap refuses to use l's extents while a device of another LUN uses them. It reads LUNs again that overlapped in the
// first reading, because they may have released the space. It need not look for new users: records that can be used never
// overlap (catalog.Set.Usable).
func refuseOverlap(ctx context.Context, s *Session, l catalog.LUN, used layout.Uses) error {
	for _, other := range used.Others(l, s.At) {
		now, err := s.View(ctx, other.LUN)
		if err != nil {
			return err
		}
		again := layout.UsesOf(map[uuid.UUID]layout.View{other.LUN: now})
		if still := again.Others(l, s.At); len(still) > 0 {
			return record.LUNFault(vds.ErrProviderCacheCorrupt, "use", l.Name,
				"device "+still[0].Device+" of another LUN uses its space", "run `plexctl assemble`, which completes the change of that LUN")
		}
	}
	return nil
}

// cancelHint is the remedy when an operation runs on l.
func cancelHint(l catalog.LUN) string {
	id := l.Operation.ID.String()
	if l.Operation.Type != vds.AsyncAddLUNPlex {
		return "wait for it with `plexctl op wait " + id + "`"
	}
	return "wait for it with `plexctl op wait " + id + "` or end it with `plexctl op cancel " + id + "`"
}

// FailedHint is the remedy when a plex has failed.
func FailedHint(l catalog.LUN) string {
	return "see to its drive, then run `plexctl lun recover " + l.Name + "`, or give the plex up with `plexctl plex remove`"
}

// scanHint is the remedy when l has a scan.
func scanHint(l catalog.LUN) string {
	return fmt.Sprintf("`plexctl plex add %s SOURCE --scan` goes on with it, `plexctl op cancel %s` gives it up", l.Name, l.Name)
}
