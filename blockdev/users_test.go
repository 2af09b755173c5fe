//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/devno"
)

func TestUsers(t *testing.T) {
	const others = "21 1 0:20 / /proc rw - proc proc rw\n22 1 253:9 / / rw,relatime shared:1 - ext4 /dev/vdz1 rw\n"
	sda, sda1, sda2, sdb, loop := devno.No{Major: 8, Minor: 0}, devno.No{Major: 8, Minor: 1}, devno.No{Major: 8, Minor: 2}, devno.No{Major: 8, Minor: 16}, devno.No{Major: 7, Minor: 0}
	partsOfSDA := []User{{"partition", "sda1"}, {"partition", "sda2"}}
	holders := []User{{"holder", "vg-root"}, {"holder", "plex-web"}}
	join := func(lists ...[]User) []User {
		var all []User
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	tests := map[string]struct {
		dev   devno.No
		setup func(tr *tree)
		want  []User
	}{
		"nobody":     {dev: loop},
		"only parts": {dev: sda, want: join(holders, partsOfSDA)},
		"mounted": {
			dev:   loop,
			setup: func(tr *tree) { tr.file("proc/self/mountinfo", others+"36 22 7:0 / /srv rw - ext4 /dev/loop0 rw\n") },
			want:  []User{{"mount", "/srv"}},
		},
		"mounted twice, once with blanks": {
			dev: loop,
			setup: func(tr *tree) {
				tr.file("proc/self/mountinfo", others+
					`36 22 7:0 / /srv/a\040b\134 rw shared:7 master:2 - xfs /dev/loop0 rw`+"\n"+
					`37 22 7:0 /sub /mnt rw - xfs /dev/loop0 rw`+"\n"+
					`38 22 7:0 /sub /mnt rw - xfs /dev/loop0 rw`+"\n")
			},
			want: []User{{"mount", `/srv/a b\`}, {"mount", "/mnt"}},
		},
		"partition mounted": {
			dev:   sda,
			setup: func(tr *tree) { tr.file("proc/self/mountinfo", others+"36 22 8:1 / /boot rw - vfat /dev/sda1 rw\n") },
			want:  join([]User{{"mount", "/boot"}}, holders, partsOfSDA),
		},
		"other partition mounted": {
			dev:   sda2,
			setup: func(tr *tree) { tr.file("proc/self/mountinfo", others+"36 22 8:1 / /boot rw - vfat /dev/sda1 rw\n") },
			want:  holders,
		},
		"whole disk of a partition mounted": {
			dev:   sda1,
			setup: func(tr *tree) { tr.file("proc/self/mountinfo", others+"36 22 8:0 / /boot rw - vfat /dev/sda rw\n") },
		},
		"mounted by btrfs, which has another number": {
			dev: loop,
			setup: func(tr *tree) {
				tr.file("proc/self/mountinfo", "36 22 0:45 /sub /srv rw - btrfs "+tr.root+"/dev/loop0 rw\n")
			},
			want: []User{{"mount", "/srv"}},
		},
		"mountinfo cut off": {
			dev: loop,
			setup: func(tr *tree) {
				tr.file("proc/self/mountinfo", "36\n36 22 7:0\n\n- - -\n36 22 7:0 / /a rw\n36 22 7:0 / /srv rw -\n")
			},
			want: []User{{"mount", "/srv"}},
		},
		"swap": {
			dev: loop,
			setup: func(tr *tree) {
				tr.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/swapfile file 1 0 -2\n"+tr.root+"/dev/loop0 partition 1 0 -2\n")
			},
			want: []User{{"swap", "DEV/loop0"}},
		},
		"held by md, which has no dm name": {dev: sdb, want: []User{{"holder", "md0"}}},
		"below a loop device": {
			dev: devno.No{Major: 254, Minor: 0},
			setup: func(tr *tree) {
				tr.device(virtualDir, "loop7", "7:7", attributes{"loop/backing_file": tr.root + "/dev/vda"})
				tr.device(virtualDir, "loop8", "7:8", attributes{"loop/backing_file": tr.root + "/dev/sda"})
				tr.device(virtualDir, "loop9", "7:9", attributes{"loop/backing_file": "/srv" + tr.root + "/dev/vda"})
			},
			want: []User{{"holder", "loop7"}},
		},
		"process": {
			dev: loop,
			setup: func(tr *tree) {
				tr.process(812, "qemu", "dev/loop0", "dev/null")
				tr.process(9, "bash", "dev/sda")
				tr.process(10, "cat", "srv/loop0")
			},
			want: []User{{"process", "qemu[812]"}},
		},
		"process, twice open, and gone": {
			dev: loop,
			setup: func(tr *tree) {
				tr.process(812, "qemu", "dev/loop0", "dev/loop0")
				tr.file("proc/900/comm", "gone")
			},
			want: []User{{"process", "qemu[812]"}},
		},
		"this process": {dev: loop, setup: func(tr *tree) { tr.process(os.Getpid(), "test", "dev/loop0") }},
		"process, but mounted too": {
			dev: loop,
			setup: func(tr *tree) {
				tr.file("proc/self/mountinfo", "36 22 7:0 / /srv rw - ext4 /dev/loop0 rw\n")
				tr.process(812, "qemu", "dev/loop0")
			},
			want: []User{{"mount", "/srv"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := newMachine(t)
			if tt.setup != nil {
				tt.setup(tr)
			}
			got, err := tr.host.Users(t.Context(), tt.dev)
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.want {
				if tt.want[i].Kind == "swap" {
					tt.want[i].Name = tr.root + "/dev/loop0"
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
		})
	}
}

// process adds a process with open files, given below the root.
func (tr *tree) process(pid int, comm string, files ...string) {
	tr.file(fmt.Sprintf("proc/%d/comm", pid), comm+"\n")
	for i, f := range files {
		tr.link(fmt.Sprintf("proc/%d/fd/%d", pid, i), tr.root+"/"+f)
	}
}

func TestUsersFails(t *testing.T) {
	tr := newMachine(t)
	if _, err := tr.host.Users(t.Context(), devno.No{Major: 8, Minor: 77}); !errors.Is(err, ErrNotExist) {
		t.Errorf("no such device: error %v, want %v", err, ErrNotExist)
	}
	tr.process(1, "init")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := tr.host.Users(ctx, devno.No{Major: 7, Minor: 0}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
}

func TestUserText(t *testing.T) {
	want := map[User]string{
		{"mount", "/srv"}:            "mounted at /srv",
		{"swap", "/dev/sda2"}:        "in use as swap",
		{"holder", "vg-root"}:        "held by vg-root",
		{"partition", "sda1"}:        "has partition sda1",
		{"process", "qemu[812]"}:     "open in qemu[812]",
		{"something", "new[1]"}:      "open in new[1]",
		{"holder", "plex-web1.0"}:    "held by plex-web1.0",
		{"mount", "/a\nb\x1b[2J"}:    `mounted at /a\nb\x1b[2J`,
		{"process", "\x1b]0;x\a[9]"}: `open in \x1b]0;x\a[9]`,
	}
	for u, text := range want {
		if got := u.String(); got != text {
			t.Errorf("%+v: %q, want %q", u, got, text)
		}
	}
}

func TestUnescape(t *testing.T) {
	want := map[string]string{
		``:                `.`,
		`/plain`:          `/plain.`,
		`/a\040b`:         `/a b.`,
		`\011\012\134`:    "\t\n\\.",
		`/trail\`:         `/trail\.`,
		`/trail\04`:       `/trail\04.`,
		`/not\999octal`:   `/not\999octal.`,
		`/over\777flow`:   `/over\777flow.`,
		`/utf8\303\244`:   `/utf8ä.`,
		`/double\134\040`: `/double\ .`,
		`\134040`:         `\040.`,
	}
	for in, out := range want {
		if got := unescape(in) + "."; got != out {
			t.Errorf("unescape(%q) = %q, want %q", in, got, out)
		}
	}
}
