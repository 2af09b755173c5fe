package mutation

// deviceMutations is slips in what touches devices: blockdev.
func deviceMutations() []mutation {
	return []mutation{
		{
			name:  "reads and writes go through the page cache",
			harm:  "reads superblocks that the kernel has long replaced",
			file:  "blockdev/disk.go",
			edits: []edit{{"flags := unix.O_DIRECT | unix.O_CLOEXEC", "flags := unix.O_CLOEXEC"}},
			test:  "TestOpenFlags",
		},
		{
			name:  "a drive is claimed that somebody uses",
			harm:  "labels a device with a file system that is mounted",
			file:  "blockdev/disk.go",
			edits: []edit{{"flags |= unix.O_EXCL", "flags |= 0"}},
			test:  "TestOpenFlags",
		},
		{
			name:  "a node may lead to another device",
			harm:  "writes a label over a device that nobody named",
			file:  "blockdev/disk.go",
			edits: []edit{{"if err == nil && want != dev {", "if err != nil && want != dev {"}},
			test:  "TestCheckNode",
		},
		{
			name:  "what is mounted from a partition is no use",
			harm:  "takes a disk away from under its file systems",
			file:  "blockdev/users.go",
			edits: []edit{{"devs := devNos(nodes)", "devs := devNos(nodes[:1])"}},
			test:  "TestUsers",
		},
		{
			name:  "one MiB too much is zeroed",
			harm:  "zeroes the beginning of what lies behind an extent",
			file:  "blockdev/zero.go",
			edits: []edit{{"n := min(length-end-done, zeroChunk)", "n := zeroChunk"}},
			test:  "TestZero",
		},
		{
			name:  "two processes change a host's LUNs at once",
			harm:  "gives the same room to two LUNs",
			file:  "internal/hostlock/hostlock.go",
			edits: []edit{{"unix.LOCK_EX|unix.LOCK_NB", "unix.LOCK_SH|unix.LOCK_NB"}},
			test:  "TestExcludesAndNamesTheHolder",
		},
		{
			name:  "a lock is held on a file that is gone",
			harm:  "lets a second process change the host's LUNs at the same time",
			file:  "internal/hostlock/hostlock.go",
			edits: []edit{{"if isAt(file, path) {", "if file != nil {"}},
			test:  "TestFileRemoved",
		},
		{
			name:  "a signal interrupts a swap",
			harm:  "fails a change on older kernels, with a reason that is none",
			file:  "dm/ioctl.go",
			edits: []edit{{"command == unix.DM_DEV_SUSPEND", "command == unix.DM_DEV_WAIT"}},
			test:  "TestNoSignalInterruptsASwap",
			in:    "dm",
		},
		{
			name:  "a signal ends a change half-way",
			harm:  "leaves a LUN suspended, or a change half made",
			file:  "lun/internal/ops/change.go",
			edits: []edit{{"ctx = context.WithoutCancel(ctx)\n	if err := h.Heal", "if err := h.Heal"}},
			test:  "TestSignals",
			in:    "lun",
		},
	}
}
