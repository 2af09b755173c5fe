package main

import (
	"crypto/rand"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// alike is random but for the beginning of each read.
type alike struct{}

func (alike) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	copy(p[:n], []byte{0xab, 0xcd})
	return n, err
}

// refusedRemove is a plex that can neither be removed nor split off.
func refusedRemove(name, ref, plex string) step {
	return refused("plex remove "+name+" "+ref+" --yes", removing(name, plex), splitting(name, plex, "new"))
}

// plexCodes is what speaks against RemovePlex and Split.
func plexCodes() map[vds.Code]map[string]situation {
	return map[vds.Code]map[string]situation{
		vds.ErrObjectNotFound: {
			"plex_unknown": {
				happens(func(r *codeRig) { r.learn("stranger", stranger.String()) }),
				refusedRemove("pairs", stranger.String(), "stranger"),
				refused("plex split pairs " + stranger.String() + " --name new"),
				refused("plex remove pairs /dev/sda --yes"),
			},
			"plex_of_another_lun": {refusedRemove("pairs", "{busy/sdc}", "busy/sdc")},
			"plex_is_a_lun":       {refusedRemove("pairs", "{pairs}", "pairs")},
		},
		vds.ErrInvalidArg: {
			"plex_ambiguous": {refused("plex remove twins abcd --yes", finding("twins", "abcd"))},
			"split": {
				refused("plex split pairs /dev/sdd --name a/b", splitting("pairs", "pairs/sdd", "a/b")),
				refused("plex split pairs /dev/sdd --name BEEF", splitting("pairs", "pairs/sdd", "BEEF")),
			},
		},
		vds.ErrNameNotUnique: {"split": {
			refused("plex split pairs /dev/sdd --name web1", splitting("pairs", "pairs/sdd", "web1")),
			mapped("plex-foreign"),
			refused("plex split pairs /dev/sdd --name foreign", splitting("pairs", "pairs/sdd", "foreign")),
		}},
		vds.ErrInvalidOperation: {
			"only_plex": {
				refusedRemove("web1", "/dev/sda", "web1/sda"),
				refused("plex split web1 /dev/sda --name new"),
			},
			"recover": {refused("lun recover web1", recovering("web1"))},
		},
		vds.ErrPlexLastActive: {"remove_plex": {
			refusedRemove("half", "/dev/sda", "half/sda"),
			refused("plex split half /dev/sda --name new"),
		}},
		vds.ErrAnotherCallInProgress: {
			"remove_plex": {refusedRemove("busy", "/dev/sdc", "busy/sdc"), refusedRemove("busy", "/dev/sdd", "busy/sdd")},
			"recover":     {refused("lun recover busy", recovering("busy"))},
		},
		vds.ErrObjectStatusFailed: {
			"remove_plex_inactive":  {succeeds("deactivate pairs"), refusedRemove("pairs", "/dev/sdd", "pairs/sdd")},
			"split":                 {refused("plex split half /dev/sde --name new", splitting("half", "half/sde", "new"))},
			"recover_inactive":      {succeeds("deactivate pairs"), refused("lun recover pairs", recovering("pairs"))},
			"recover_drive_missing": {vanished("sde"), refused("lun recover half", recovering("half"))},
		},
		vds.ErrObjectDeleted: {
			"remove_plex": append(doomed(), refusedCall(removing("doomed", "doomed/sde"))),
			"recover":     append(doomed(), refusedCall(recovering("doomed"))),
		},
	}
}

// doomed is a LUN of which a handle is left.
func doomed() situation {
	return situation{
		succeeds("lun create doomed --size 1MiB --drive /dev/sde"),
		kept("doomed"),
		succeeds("lun delete doomed --yes"),
	}
}

// otherCodes is what speaks against the calls that are not about plexes.
func otherCodes() map[vds.Code]map[string]situation {
	return map[vds.Code]map[string]situation{
		vds.ErrObjectStatusFailed: {"extend": {refused("lun extend half --by 1MiB", extending("half", size.MiB))}},
		vds.ErrNotSupported: {
			"drive_init": {
				disk("sdx", codesDrive),
				succeeds("drive init /dev/sdx --yes"),
				happens(func(r *codeRig) { r.edit("sdx", func(label []byte) { label[8]++ }) }),
				refused("drive init /dev/sdx --yes --force", initializing("/dev/sdx", true)),
			},
		},
		vds.ErrMediaWriteProtected: {
			"create":     {becomes("sde", protected), refused("lun create new --size 1MiB --drive /dev/sde")},
			"extend":     {becomes("sdb", protected), refused("lun extend spare3 --by 1MiB", extending("spare3", size.MiB))},
			"recover":    {becomes("sde", protected), refused("lun recover half", recovering("half"))},
			"drive_init": {disk("sdx", codesDrive), becomes("sdx", protected), refused("drive init /dev/sdx --yes", initializing("/dev/sdx", false))},
			"drive_grow": {becomes("sde", protected), refused("drive grow /dev/sde", growingDrive("/dev/sde"))},
			"drive_repair": {
				happens(func(r *codeRig) { r.edit("sde", func(label []byte) { clear(label) }) }),
				becomes("sde", protected), refused("drive repair /dev/sde --yes", repairingDrive("/dev/sde")),
			},
		},
		vds.ErrInvalidSectorSize: {
			"extend": {
				disk("sdx", codesDrive),
				becomes("sdx", largerBlocks),
				succeeds("drive init /dev/sdx --yes"),
				refused("lun extend web1 --by 1MiB --drive /dev/sdx", extending("web1", size.MiB, "/dev/sdx")),
			},
			"recover": {becomes("sde", largerBlocks), refused("lun recover half", recovering("half"))},
		},
		vds.ErrNotEnoughSpace: {
			"extend": {
				refused("lun extend web1 --by 400MiB", extending("web1", 400*size.MiB)),
				refused("lun extend pairs --by 16MiB --drive /dev/sda", extending("pairs", 16*size.MiB, "/dev/sda")), // it would span drives
			},
			"extend_max": {succeeds("lun extend spare3 --size max"), refused("lun extend spare3 --size max", extending("spare3", lun.AllRoom))},
			"drive_init": {
				disk("tiny", 15*size.MiB),
				refused("drive init /dev/tiny --yes", initializing("/dev/tiny", false)),
			},
		},
		vds.ErrNameNotUnique: {
			"rename": {
				refused("lun rename web1 spare3", renaming("web1", "spare3")),
				mapped("plex-foreign"),
				refused("lun rename web1 foreign", renaming("web1", "foreign")),
			},
			"create": {
				refused("lun create web1 --size 1MiB", creating("web1", size.MiB)),
				mapped("plex-foreign"),
				refused("lun create foreign --size 1MiB", creating("foreign", size.MiB)),
			},
		},
		vds.ErrInvalidArg: {
			"rename": {
				refused("lun rename web1 a/b", renaming("web1", "a/b")),
				refused("lun rename web1 a:b", renaming("web1", "a:b")),
				refused("lun rename web1 2024", renaming("web1", "2024")),
			},
			"create":   {refused("lun create cafe-cafe --size 1MiB", creating("cafe-cafe", size.MiB))},
			"set_rate": {refused("op set-rate busy 100B", settingRate("busy", 100))},
			"extend":   {refused("lun extend web1 --by 0B", extending("web1", 0))},
		},
		vds.ErrObjectDeleted: {"rename": append(doomed(), refusedCall(renaming("doomed", "other")))},
		vds.ErrInvalidOperation: {
			"set_rate":     {refused("op set-rate pairs 1MiB", settingRate("pairs", size.MiB))},
			"drive_grow":   {refused("drive grow /dev/sda", growingDrive("/dev/sda"))},
			"drive_repair": {refused("drive repair /dev/sda --yes", repairingDrive("/dev/sda"))},
			"drive_init":   {refused("drive init /dev/mapper/plex-web1 --yes --force", initializing("/dev/mapper/plex-web1", true))},
		},
		vds.ErrDiskNotEmpty: {
			"drive_init": {
				disk("sdx", codesDrive),
				happens(func(r *codeRig) { r.mem.SetSignatures("/dev/sdx", ext4) }),
				refused("drive init /dev/sdx --yes", initializing("/dev/sdx", false)),
			},
			"drive_remove": {refused("drive remove /dev/sde --yes", removingDrive("/dev/sde"))},
		},
		vds.ErrObjectExists: {
			"drive_init": {
				emptied(1),
				refused("drive init /dev/sda --yes", initializing("/dev/sda", false)),
				succeeds("lun create web1 --size 4MiB"),
				cloned("sda", "sdf"),
				refused("drive init /dev/sdf --yes", initializing("/dev/sdf", false)),
				succeeds("deactivate web1"),
				refused("drive init /dev/sda --yes --force", initializing("/dev/sda", true)),
			},
			"take_over": {
				emptied(1),
				onHost("0123456789abcdef0123456789abcdef"),
				disk("sdf", codesDrive),
				succeeds("drive init /dev/sdf --yes"),
				cloned("sdf", "sdg"),
				onHost(codesHost),
				succeeds("drive take-over /dev/sdf --yes"),
				refused("drive take-over /dev/sdg --yes", takingOver("/dev/sdg")),
			},
		},
		vds.ErrDeviceInUse: {"drive_repair": {
			happens(func(r *codeRig) {
				r.edit("sde", func(label []byte) { clear(label) })
				r.mem.SetSignatures("/dev/sde", ext4)
			}),
			refused("drive repair /dev/sde --yes", repairingDrive("/dev/sde")),
		}, "drive_choose": {
			emptied(1),
			succeeds("lun create web1 --size 4MiB"),
			cloned("sda", "sdf"),
			refused("drive choose /dev/sdf --yes", choosing("/dev/sdf")),
		}},
	}
}
