package ops

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Repair is what RepairDrive does to a drive.
type Repair struct {
	host.Remains               // goes, if somebody else may have written it
	Stale        []catalog.LUN // the records of mirrors whose plex on the drive is out of date then

	drive *host.Drive
}

// RepairDrive writes the lost label of a drive anew from the other one. If somebody else may have written to the drive, it first marks the
// plexes there out of date, where other plexes hold the data.
func RepairDrive(ctx context.Context, env *Env, ref string) error {
	return env.Change(ctx, "repair drive "+ref, func(ctx context.Context, s *Session) error {
		r, err := CheckRepair(ctx, s.Host, ref)
		if err != nil {
			return err
		}
		var steps []layout.Step
		if len(r.Stale) > 0 {
			for i := range r.Stale {
				r.Stale[i] = s.Next(r.Stale[i])
			}
			tx := &host.Transaction{Put: r.Stale, Each: true}
			steps = append(steps, engine.Commit{Tx: tx, Text: "the plexes of " + host.Names(r.Stale) + " on " + r.drive.Info.Path + " are out of date"})
		}
		return fault.Of("repair", r.drive.Info.Path, s.Run(ctx, append(steps, engine.RepairDrive{Drive: r.drive, Wipe: r.Other})))
	})
}

// CheckRepair is what RepairDrive would do, or why it would refuse.
func CheckRepair(ctx context.Context, h *host.Host, ref string) (Repair, error) {
	d, err := h.Named(ctx, ref)
	if err != nil {
		return Repair{}, err
	}
	why := fault.Reasons{Op: "repair", Object: d.Info.Path}
	if !d.Store.LabelLost() {
		why.Add(vds.ErrInvalidOperation, "`plexctl status` shows what is wrong", "its label is in order, and so is the copy")
		return Repair{}, why.Err()
	}
	if err := d.Unwritable(); err != nil {
		return Repair{}, err
	}
	r := Repair{drive: d}
	if r.Remains, err = h.Remains(ctx, d); err != nil || !r.Other {
		return r, err
	}
	if err := refuseUsed(ctx, h, d, &why); err != nil {
		return r, err
	}
	if d.Standing == host.Used {
		if err := r.distrust(ctx, h, &why); err != nil {
			return r, err
		}
	}
	return r, why.Err()
}

// distrust fills Stale. It adds a reason for each LUN that must not lose a plex now.
func (r *Repair) distrust(ctx context.Context, h *host.Host, why *fault.Reasons) error {
	written := func(id uuid.UUID) bool { return id == r.drive.ID() }
	sound := func(id uuid.UUID) bool {
		d, here := h.Drives[id]
		return here && !d.Store.HeadLost && d.Unwritable() == nil
	}
	for _, l := range h.Set.LUNs {
		next, distrusted := record.Distrust(l, written, sound)
		if !distrusted || !h.Set.Usable(l.ID) {
			continue
		}
		name, err := h.DeviceName(ctx, l)
		if err != nil {
			return err
		}
		path := r.drive.Info.Path
		switch {
		case name != "":
			hint := "take it down: `plexctl deactivate " + l.Name + "`; or give up its plex there: `plexctl plex remove " + l.Name + " " + path + "`"
			why.Add(vds.ErrDeviceInUse, hint, "somebody else may have written to the drive, and %s is active", record.LUNObject(l.Name))
		case l.Departure != nil:
			why.Add(vds.ErrInvalidOperation, "`plexctl assemble "+l.Name+"` completes it", "plexes of %s are leaving", record.LUNObject(l.Name))
		}
		r.Stale = append(r.Stale, next)
	}
	return nil
}

// refuseUsed adds a reason when others than plexctl use a device.
func refuseUsed(ctx context.Context, h *host.Host, d *host.Drive, why *fault.Reasons) error {
	own, err := h.Active(ctx)
	if err != nil {
		return err
	}
	users, err := h.LastingUsers(ctx, d.Info.Dev)
	if err != nil {
		return fault.Of(why.Op, why.Object, err)
	}
	users = slices.DeleteFunc(users, func(u blockdev.User) bool {
		for _, dev := range own {
			if u.Kind == "holder" && u.Name == dev.Name {
				return true
			}
		}
		return false
	})
	if len(users) > 0 {
		why.Add(vds.ErrDeviceInUse, "unmount it, or take it out of what holds it", "it is in use: %s", fault.Users(users))
	}
	return nil
}

// repairDrives writes lost labels anew where nothing is lost by it. The drive must be this host's, and on the device that its label
// names. No other device has its label, and nobody else has written to it. Other drives, and those that fail, stay as they are.
func repairDrives(ctx context.Context, s *Session) {
	for _, d := range s.ByPath() {
		if !d.Store.LabelLost() || len(d.Rivals) > 0 || d.Changed() || d.Unwritable() != nil {
			continue
		}
		remains, err := s.Remains(ctx, d)
		if err == nil && !remains.Other {
			err = s.Run(ctx, []layout.Step{engine.RepairDrive{Drive: d}})
		}
		if err != nil {
			s.Log.WarnContext(ctx, "a label is not written anew", "device", d.Info.Path, "error", err)
		}
	}
}
