package main

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// The calls of the library, on LUNs by name and on other objects by symbol.

func adding(target, source string) call {
	return call{"AddPlex " + target + " " + source, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(target).AddPlex(ctx, r.id(source), lun.AttachOptions{})
		return err
	}}
}

func addingAt(rate size.Bytes, target, source string) call {
	return call{"AddPlex " + target + " " + source + " at " + rate.String(), func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(target).AddPlex(ctx, r.id(source), lun.AttachOptions{Rate: rate})
		return err
	}}
}

func addingNew(target string, drives ...string) call {
	return call{"AddNewPlex " + target, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(target).AddNewPlex(ctx, drives, lun.AttachOptions{})
		return err
	}}
}

func removing(name, plex string) call {
	return call{"RemovePlex " + name + " " + plex, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(name).RemovePlex(ctx, r.id(plex))
		return err
	}}
}

func splitting(name, plex, as string) call {
	return call{"Split " + name + " " + plex + " as " + as, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(name).Split(ctx, r.id(plex), as)
		return err
	}}
}

func recovering(name string) call {
	return call{"Recover " + name, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(name).Recover(ctx)
		return err
	}}
}

func extending(name string, by size.Bytes, drives ...string) call {
	return call{"Extend " + name + " by " + by.String(), func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(name).Extend(ctx, by, drives)
		return err
	}}
}

func renaming(name, to string) call {
	return call{"Rename " + name + " " + to, func(ctx context.Context, r *codeRig) error { return r.lun(name).Rename(ctx, to) }}
}

func creating(name string, length size.Bytes) call {
	return call{"CreateLUN " + name, func(ctx context.Context, r *codeRig) error {
		_, err := r.provider().CreateLUN(ctx, lun.Spec{Name: name, Size: length})
		return err
	}}
}

func settingRate(name string, rate size.Bytes) call {
	return call{"SetRate " + name + " " + rate.String(), func(ctx context.Context, r *codeRig) error { return r.lun(name).SetRate(ctx, rate) }}
}

func initializing(path string, force bool) call {
	return call{"InitDrive " + path, func(ctx context.Context, r *codeRig) error {
		_, err := r.provider().InitDrive(ctx, path, lun.InitOptions{Force: force})
		return err
	}}
}

func removingDrive(path string) call {
	return call{"RemoveDrive " + path, func(ctx context.Context, r *codeRig) error { return r.provider().RemoveDrive(ctx, path) }}
}

func growingDrive(path string) call {
	return call{"GrowDrive " + path, func(ctx context.Context, r *codeRig) error { return r.provider().GrowDrive(ctx, path) }}
}

func repairingDrive(path string) call {
	return call{"RepairDrive " + path, func(ctx context.Context, r *codeRig) error { return r.provider().RepairDrive(ctx, path) }}
}

func takingOver(path string) call {
	return call{"TakeOver " + path, func(ctx context.Context, r *codeRig) error { _, err := r.provider().TakeOver(ctx, path); return err }}
}

func choosing(path string) call {
	return call{"Choose " + path, func(ctx context.Context, r *codeRig) error { _, err := r.provider().Choose(ctx, path); return err }}
}

func finding(name, ref string) call {
	return call{"Plex " + name + " " + ref, func(_ context.Context, r *codeRig) error {
		_, err := r.lun(name).Plex(ref)
		return err
	}}
}

func askingProperties(name string) call {
	return call{"Properties " + name, func(ctx context.Context, r *codeRig) error {
		_, err := r.lun(name).Properties(ctx)
		return err
	}}
}

func askingOperation(name string) call {
	return call{"Operation " + name, func(_ context.Context, r *codeRig) error {
		_, err := r.lun(name).Operation()
		return err
	}}
}

func canceling(name string) call {
	return call{"Cancel op:" + name, func(ctx context.Context, r *codeRig) error { return r.op(name).Cancel(ctx) }}
}

// waiting looks at an operation and waits for it, not for long: it has ended, or the wait is in vain.
func waiting(name string) call {
	wait := briefly(call{"Wait op:" + name, func(ctx context.Context, r *codeRig) error { return r.op(name).Wait(ctx) }})
	return call{wait.text, func(ctx context.Context, r *codeRig) error {
		if _, err := r.op(name).QueryStatus(ctx); err != nil {
			return err
		}
		return wait.do(ctx, r)
	}}
}

// briefly is a call that gives up soon.
func briefly(c call) call {
	return call{c.text, func(ctx context.Context, r *codeRig) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		return c.do(ctx, r)
	}}
}

// stranger is a GUID that no object has.
var stranger = uuid.MustParse("11111111-2222-4333-8444-555555555555")

// statusOf is how the operation of a LUN stands.
func (r *codeRig) statusOf(name string) resync.Status {
	r.t.Helper()
	st, err := r.op(name).QueryStatus(r.t.Context())
	r.must("query status", err)
	return st
}
