package main

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Sizes of the drives and LUNs that codes are provoked with.
const (
	codesDrive = 24 * size.MiB
	codesLUN   = 4 * size.MiB
)

// codesMachine is the machine that most situations begin with:
//
//	web1    a plex on sda        pairs   a mirror on sdc and sdd
//	spare3  a plex on sdb        busy    under add-plex, paused, from sdc to sdd
//	near    smaller, on sda      half    a mirror on sda and sde; the plex on sde has failed, the drive is back
//	big     fills sdb            twins   a mirror on sdc and sdd; the GUIDs of its plexes begin alike
func codesMachine() situation {
	return situation{
		emptied(5),
		succeeds("lun create web1 --size 4MiB --drive /dev/sda"),
		succeeds("lun create near --size 3MiB --drive /dev/sda"),
		succeeds("lun create half --size 4MiB --drive /dev/sda"),
		succeeds("plex add half --drive /dev/sde --wait"),
		succeeds("lun create spare3 --size 4MiB --drive /dev/sdb"),
		succeeds("lun create big --size 8MiB --drive /dev/sdb"),
		succeeds("lun create pairs --size 4MiB --drive /dev/sdc"),
		succeeds("plex add pairs --drive /dev/sdd --wait"),
		happens(func(r *codeRig) {
			uuid.SetRand(alike{})
			defer uuid.SetRand(nil)
			succeeds("lun create twins --size 1MiB --drive /dev/sdc")(r)
			succeeds("plex add twins --drive /dev/sdd --wait")(r)
		}),
		succeeds("lun create busy --size 4MiB --drive /dev/sdc"),
		succeeds("plex add busy --drive /dev/sdd --now --rate paused"),
		legFailed("half", "sde"),
	}
}

// addCodes is what speaks against AddPlex.
func addCodes() map[vds.Code]map[string]situation {
	return map[vds.Code]map[string]situation{
		vds.ErrAnotherCallInProgress: {
			"lock": {
				happens(func(r *codeRig) {
					lock, err := hostlock.Acquire(r.t.Context(), r.lockPath, "hold the lock")
					r.must("lock", err)
					r.t.Cleanup(lock.Unlock)
					r.lock = lock
				}),
				refused("plex add web1 spare3 --yes", briefly(adding("web1", "spare3"))),
				refused("op cancel busy --yes", briefly(canceling("busy"))),
			},
			"target_busy": {refused("plex add busy spare3 --yes", adding("busy", "spare3"))},
			"source_busy": {refused("plex add web1 busy --yes", adding("web1", "busy"))},
		},
		vds.ErrObjectDeleted: {"add_plex": targetGone()},
		vds.ErrObjectNotFound: {
			"source_unknown": {
				happens(func(r *codeRig) { r.learn("stranger", stranger.String()) }),
				refused("plex add web1 "+stranger.String()+" --yes", adding("web1", "stranger")),
				refused("plex add web1 nobody --yes"),
			},
			"source_absorbed": {
				succeeds("plex add web1 spare3 --yes --wait"),
				refused("plex add web1 {spare3} --yes", adding("web1", "spare3")),
				refused("plex add web1 spare3 --yes"),
			},
			"source_is_a_plex": {refused("plex add web1 {spare3/sdb} --yes", adding("web1", "spare3/sdb"))},
			"drive": {
				disk("sdx", codesDrive),
				refused("plex add web1 --drive /dev/sdx", addingNew("web1", "/dev/sdx")),
				refused("plex add web1 --drive /dev/sdy", addingNew("web1", "/dev/sdy")),
			},
		},
		vds.ErrInvalidOperation: {
			"source_is_target": {refused("plex add web1 web1 --yes", adding("web1", "web1"))},
			"source_smaller":   {refused("plex add spare3 near --yes", adding("spare3", "near"))},
			"shared_drive":     {refused("plex add near web1 --yes", adding("near", "web1"))},
			"nine_plexes":      ninePlexes(),
			"several_reasons": {
				happens(func(r *codeRig) {
					release, err := r.kernel.Hold("plex-near")
					r.must("hold", err)
					r.t.Cleanup(release)
					info, err := r.kernel.Info(r.t.Context(), "plex-near")
					r.must("info", err)
					r.mem.SetUsers(info.Dev, blockdev.User{Kind: "holder", Name: "dm-7"}) // who is only open is waited for
				}),
				refused("plex add web1 near --yes", adding("web1", "near")),
			},
		},
		vds.ErrInvalidArg: {"rate": {
			refused("plex add web1 spare3 --yes --rate 100B", addingAt(100, "web1", "spare3")),
		}},
		vds.ErrNotSupported: {"module": {
			happens(func(r *codeRig) { r.kernel.Unload("dm-raid") }),
			refused("plex add web1 spare3 --yes", adding("web1", "spare3")),
			refused("plex add web1 spare3 --dry-run"),
			refused("lun create kept --size 1MiB --drive /dev/sda --track --dry-run"),
			happens(func(r *codeRig) { r.kernel.Unload("raid1") }),
			refused("plex add web1 spare3 --yes", adding("web1", "spare3")),
		}, "span": {
			emptied(3),
			succeeds("lun create web1 --size 4MiB --drive /dev/sda"),
			succeeds("lun create wide --size 24MiB --drive /dev/sdb --drive /dev/sdc"),
			refused("plex add web1 wide --yes", adding("web1", "wide")),
		}},
	}
}

// addDriveCodes is what speaks against AddPlex and has to do with drives.
func addDriveCodes() map[vds.Code]map[string]situation {
	return map[vds.Code]map[string]situation{
		vds.ErrAccessDenied: {
			"other_host": append(otherHost(),
				refused("plex add web1 --drive /dev/sdf", addingNew("web1", "/dev/sdf"))),
			"lun_of_other_host": append(otherHost(), refused("plex add web1 theirs --yes", adding("web1", "theirs"))),
		},
		vds.ErrDiskConfigurationNotSync: {
			"copies": {
				emptied(3),
				succeeds("lun create web1 --size 4MiB --drive /dev/sdc"),
				succeeds("lun create spare3 --size 4MiB --drive /dev/sda"),
				succeeds("deactivate spare3"),
				cloned("sda", "sdf"),
				refused("plex add web1 spare3 --yes", adding("web1", "spare3")),
				refused("plex add web1 --drive /dev/sdf", addingNew("web1", "/dev/sdf")),
			},
			"conflict": {
				emptied(3),
				succeeds("lun create web1 --size 4MiB --drive /dev/sdc"),
				succeeds("lun create torn --size 4MiB --drive /dev/sda"),
				succeeds("plex add torn --drive /dev/sdb --wait"),
				succeeds("deactivate torn"),
				vanished("sda"), succeeds("lun rename torn left"), returned("sda"),
				vanished("sdb"), succeeds("lun rename {torn} right"), returned("sdb"),
				refused("plex add web1 {torn} --yes", adding("web1", "torn")),
			},
		},
		vds.ErrNotEnoughSpace: {"add_plex": {refused("plex add web1 --drive /dev/sdb", addingNew("web1", "/dev/sdb"))}},
		vds.ErrNotEnoughDrive: {
			"add_plex": {
				emptied(1),
				succeeds("lun create web1 --size 4MiB"),
				refusedCall(addingNew("web1")),
			},
			"create": {emptied(0), refused("lun create web1 --size 4MiB", creating("web1", codesLUN))},
		},
		vds.ErrObjectStatusFailed: {
			"target_inactive": {
				succeeds("deactivate web1"),
				refused("plex add web1 spare3 --yes", adding("web1", "spare3")),
			},
			"source_drive_missing": {vanished("sde"), refused("plex add spare3 half --yes", adding("spare3", "half"))},
		},
	}
}

// targetGone has a handle outlive its LUN: deleted through it, deleted or absorbed by another process.
func targetGone() situation {
	steps := situation{
		succeeds("lun create doomed1 --size 1MiB --drive /dev/sde"),
		succeeds("lun create doomed2 --size 1MiB --drive /dev/sde"),
		succeeds("lun create doomed3 --size 1MiB --drive /dev/sde"),
		succeeds("lun create absorber --size 1MiB --drive /dev/sdb"),
		kept("doomed1"), kept("doomed2"), kept("doomed3"),
		happens(func(r *codeRig) { r.must("delete", r.lun("doomed1").Delete(context.WithoutCancel(r.t.Context()))) }),
		succeeds("lun delete doomed2 --yes"),
		succeeds("plex add absorber doomed3 --yes --now --wait"),
	}
	for _, name := range []string{"doomed1", "doomed2", "doomed3"} {
		steps = append(steps, refusedCall(adding(name, "spare3")), refusedCall(askingProperties(name)), refusedCall(askingOperation(name)))
	}
	return steps
}

// ninePlexes is a target of four plexes and a source of five.
func ninePlexes() situation {
	steps := situation{
		emptied(9),
		succeeds("lun create web1 --size 1MiB --drive /dev/sda"),
		succeeds("lun create spare3 --size 1MiB --drive /dev/sde"),
	}
	for lun, drives := range map[string]string{"web1": "bcd", "spare3": "fghi"} {
		for drive := range strings.SplitSeq(drives, "") {
			steps = append(steps, succeeds("plex add "+lun+" --drive /dev/sd"+drive+" --wait"))
		}
	}
	return append(steps, refused("plex add web1 spare3 --yes", adding("web1", "spare3")))
}

// otherHost adds a drive sdf that another host has used last, with a LUN theirs.
func otherHost() situation {
	return situation{
		onHost("0123456789abcdef0123456789abcdef"),
		disk("sdf", codesDrive),
		succeeds("drive init /dev/sdf --yes"),
		succeeds("lun create theirs --size 4MiB --drive /dev/sdf"),
		succeeds("deactivate theirs"),
		onHost(codesHost),
	}
}

// cloned adds a disk that holds what another one holds.
func cloned(from, to string) step {
	return func(r *codeRig) { r.must("clone", r.clone("/dev/"+from, "/dev/"+to)) }
}

// onHost has plexctl run on a host with this id from now on.
func onHost(id string) step { return func(r *codeRig) { r.hosts = []string{id} } }
