package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What lies on a LUN is on each of its plexes, too, and on a copy that is split off. This file knows which programs mind that.

// lvmFilter is the line of lvm.conf that keeps LVM from the plexes.
const lvmFilter = `global_filter = [ "r|^/dev/mapper/plex-.*:|" ]`

// content is the types of what plexctl recognises on a LUN; none when it cannot be read.
func (h *host) content(ctx context.Context, name string) map[string]bool {
	found, _ := h.devices.Signatures(ctx, "/dev/mapper/plex-"+name) // a look that only leads to advice
	types := map[string]bool{}
	for _, s := range found {
		types[s.Type] = true
	}
	return types
}

// checkLVM looks for physical volumes of LVM on mirrors. LVM refuses to activate a group whose volume it sees more than once.
func checkLVM(ctx context.Context, filtered bool, h *host) []checkDoc {
	var checks []checkDoc
	for _, l := range h.LUNs() {
		record, err := l.Record()
		if filtered || err != nil || len(record.Plexes) < 2 || !h.content(ctx, record.Name)["lvm2"] {
			continue
		}
		checks = append(checks, checkDoc{
			"lvm", levelWarn, fmt.Sprintf("LVM sees the volume on %s on each of its plexes, and will not activate its group", record.Name),
			"put `" + lvmFilter + "` into the section devices of /etc/lvm/lvm.conf, and renew the initramfs",
		})
	}
	return checks
}

// filtersPlexes reports whether the configuration of LVM in a folder keeps it from plexes. A filter may name them, or accept only
// what it names. Or LVM has a list of its devices.
func filtersPlexes(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "devices/system.devices")); err == nil {
		return true
	}
	for _, name := range []string{"lvm.conf", "lvmlocal.conf"} {
		text, _ := os.ReadFile(filepath.Join(dir, name)) // without it LVM has no filter
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			_, filter, is := strings.Cut(line, "filter")
			if is && (strings.Contains(filter, "/plex-") || strings.Contains(filter, "r|.*|") || strings.Contains(filter, "r/.*/")) {
				return true
			}
		}
	}
	return false
}

// copyAdvice is what a user must know about a copy, by what is on it.
var copyAdvice = []struct{ content, advice string }{
	{"xfs", "its XFS has the UUID of the original: mount it with `-o nouuid`, and with `-o ro,norecovery,nouuid` if nothing is to be written to it"},
	{"btrfs", "its btrfs has the UUID of the original: up to Linux 6.6 do not mount it while the original is mounted, as the kernel takes both for one"},
	{"lvm2", "its LVM volume has the UUID of the original: `vgimportclone` gives it others"},
}

// adviceOn is what a user must know about a copy that is split off from LUN name.
func (h *host) adviceOn(ctx context.Context, name string) []string {
	var advice []string
	info, err := h.devices.Stat(ctx, "/dev/mapper/plex-"+name)
	if err == nil {
		users, _ := h.devices.Users(ctx, info.Dev) // only for advice
		for _, u := range users {
			if u.Kind == "holder" {
				advice = append(advice, fmt.Sprintf("%s is not frozen: the kernel freezes only a file system that is mounted from LUN %s itself. What lies on "+
					"it is in the copy as after a power cut, unless you freeze it with `fsfreeze`", u.Name, name))
			}
		}
	}
	types := h.content(ctx, name)
	for _, a := range copyAdvice {
		if types[a.content] {
			advice = append(advice, a.advice)
		}
	}
	return advice
}
