package main

// sections are the figures that the page shows, in order. What is measured besides them is in the lines of JSON alone.
func sections() []section {
	return []section{
		{
			Figure: "attach", Title: "Attach: until the command returns", chart: true,
			Text: "From then on every write goes to both legs. `plexctl plex add`, `lvconvert --type raid1 -m1`, `mdadm --add`.",
		},
		{
			Figure: "window", Title: "Attach: the longest time for which the volume is suspended", chart: true,
			Text: "From the entry of the kernel's function that suspends the volume to the return of the one that resumes it. 0 says that this " +
				"kernel's md adds a leg without suspending the array, which has been one with two legs from the start.",
		},
		{
			Figure: "windows", Title: "Attach: all such times together",
			Text: "A command may suspend the volume more than once.",
		},
		{
			Figure: "stall", Title: "Attach: what a writer feels", chart: true,
			Text: "The longest wait of a writer of 4 KiB blocks during the attach, less its longest wait in an equal time before. It includes " +
				"that the copy has begun, and takes its share of the drives.",
		},
		{
			Figure: "redundant", Title: "Time until both legs are equal", chart: true,
			Text: "From the start of the attach. ≈ is an estimate: 6 seconds after the attach it is looked how much is copied.",
		},
		{Figure: "read-first", Title: "Read from the first leg for it"},
		{
			Figure: "written-second", Title: "Written to the second leg for it",
			Text: "The kernel counts as written what a drive zeroes by itself, which a tracked LUN has it do to all of the leg first.",
		},
		{Figure: "data-second", Title: "Written to the second leg for it, without what the drive has zeroed by itself"},
		{
			Figure: "return", Title: "A leg comes back: time until both legs are equal", chart: true,
			Text: "After writes of 4 KiB at so many places while it was away. `plexctl lun recover`, `lvchange --refresh`, `mdadm --re-add`; mdadm " +
				"without a bitmap has to `--add` the leg anew.",
		},
		{Figure: "return-written", Title: "A leg comes back: written to it"},
		{
			Figure: "status", Title: "Show all volumes", chart: true,
			Text: "`plexctl status`, `lvs`, `dmsetup status`. None is a mirror.",
		},
		{Figure: "status-json", Title: "Show all volumes, as JSON", Text: "`plexctl status -o json`, `lvs --reportformat json`."},
		{Figure: "activate", Title: "Start all volumes", chart: true, Text: "`plexctl assemble`, `vgchange -ay`."},
		{Figure: "deactivate", Title: "Stop all volumes", chart: true, Text: "`plexctl deactivate`, `vgchange -an`."},
		{Figure: "io", Title: "I/O on the finished mirror", more: true, chart: true, Text: "Past the page cache; more is better. Random I/O by four threads, the rest by one."},
		{Figure: "start", Title: "Start of the program"},
		{
			Figure: "memory", Title: "Memory at the peak",
			Text: "Of the commands above that show, start and stop all volumes. `mdadm --detail` shows one array.",
		},
		{Figure: "size", Title: "Size of the program", Text: "plexctl is static: it needs no libraries."},
	}
}
