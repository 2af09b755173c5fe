package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// InitDrive makes the device at path a drive, and returns its GUID. With force it takes a device although it recognises content
// on it.
func InitDrive(ctx context.Context, env *Env, path string, force bool) (uuid.UUID, error) {
	var made uuid.UUID
	err := env.Change(ctx, "init "+path, func(ctx context.Context, s *Session) error {
		info, err := checkDevice(ctx, s.Host, path, force)
		if err != nil {
			return err
		}
		label := catalog.Label{Drive: uuid.New(), Size: info.Size, Host: s.ID(), Created: s.Now, Hardware: string(info.Identity)}
		made = label.Drive
		return fault.Of("init", path, s.Run(ctx, []layout.Step{engine.Label{Info: info, Label: label}}))
	})
	return made, err
}

// CheckDrive is the reason why InitDrive would refuse the device at path; nil when it would not.
func CheckDrive(ctx context.Context, h *host.Host, path string, force bool) error {
	_, err := checkDevice(ctx, h, path, force)
	return err
}

// checkDevice is the device at path, or the error of CheckDrive.
func checkDevice(ctx context.Context, h *host.Host, path string, force bool) (blockdev.Info, error) {
	info, err := h.Devices.Stat(ctx, path)
	if err != nil {
		return info, fault.Of("init", path, err)
	}
	return info, checkInit(ctx, h, info, force)
}

// checkInit returns all reasons against making a device a drive.
func checkInit(ctx context.Context, h *host.Host, info blockdev.Info, force bool) error {
	why := fault.Reasons{Op: "init", Object: info.Path}
	users, err := h.LastingUsers(ctx, info.Dev)
	if err != nil {
		return fault.Of("init", info.Path, err)
	}
	if len(users) > 0 {
		why.Add(vds.ErrDeviceInUse, "unmount it, or take it out of what holds it", "it is in use: %s", fault.Users(users))
		return why.Err()
	}
	if err := h.RefuseOwn(ctx, info, &why); err != nil {
		return err
	}
	if info.Size < catalog.MinDriveSize {
		why.Add(vds.ErrNotEnoughSpace, "", "it has %s, a drive needs %s", info.Size, catalog.MinDriveSize)
	}
	checkKind(info, &why)
	checkContent(ctx, h, info, force, &why)
	return why.Err()
}

// checkContent adds a reason when plexctl recognises content on the device.
func checkContent(ctx context.Context, h *host.Host, info blockdev.Info, force bool, why *fault.Reasons) {
	known := h.RefuseLabelled(ctx, info, force, why)
	if h.Silence(info.Dev) != nil {
		return // to look for anything else would not end
	}
	found, err := h.Devices.Signatures(ctx, info.Path)
	if err != nil {
		why.Add(vds.ErrIO, "", "its content cannot be read: %v", err)
	}
	if known { // there is a reason for it already
		found = slices.DeleteFunc(found, func(s signature.Signature) bool { return s.Type == signature.Own })
	}
	if len(found) > 0 && !force {
		why.Add(vds.ErrDiskNotEmpty, "if its content may be lost, add --force", "it carries %s", fault.List(found, signature.Signature.String))
	}
}

// RemoveDrive removes the label from a drive without plexes. A path names the drive on that device, whatever other device has the
// same label.
func RemoveDrive(ctx context.Context, env *Env, ref string) error {
	return env.Change(ctx, "remove drive "+ref, func(ctx context.Context, s *Session) error {
		d, err := s.Named(ctx, ref)
		if err != nil {
			return err
		}
		if d.Standing == host.Foreign {
			return d.Refused()
		}
		if d.Protected() {
			return fault.Protected("remove", d.Info.Path)
		}
		if err := d.Store.Writable(); errors.Is(err, catalog.ErrReadOnlyFormat) {
			return &vds.Error{Code: vds.ErrNotSupported, Op: "remove", Object: d.Info.Path, Err: err, Hint: "use the plexctl that wrote it"}
		}
		if err := s.RefuseOccupied(d); err != nil {
			return err
		}
		return fault.Of("remove", record.DriveObject(d.ID()), s.Run(ctx, []layout.Step{engine.Unlabel{Drive: d}}))
	})
}

// GrowDrive makes a drive as large as its device, which has grown.
func GrowDrive(ctx context.Context, env *Env, ref string) error {
	return env.Change(ctx, "grow drive "+ref, func(ctx context.Context, s *Session) error {
		d, err := s.FindDrive(ref)
		if err != nil {
			return err
		}
		if err := checkGrow(d); err != nil {
			return err
		}
		return fault.Of("grow", record.DriveObject(d.ID()), s.Run(ctx, []layout.Step{engine.GrowDrive{Drive: d}}))
	})
}

// checkGrow is why a drive cannot grow.
func checkGrow(d *host.Drive) error {
	if err := d.Refused(); err != nil {
		return err
	}
	if err := d.Unwritable(); err != nil {
		return err
	}
	if d.Store.Grown() == 0 && !d.Store.HeadLost {
		return &vds.Error{
			Code: vds.ErrInvalidOperation, Op: "grow", Object: record.DriveObject(d.ID()),
			Reason: fmt.Sprintf("%s has %s, no more than its label says", d.Info.Path, d.Info.Size), Hint: "make the device larger first",
		}
	}
	return nil
}
