package mutation

// scanMutations is bugs in scans, and in what is done when a drive fails in the swap.
func scanMutations() []mutation {
	return []mutation{
		{
			name:  "what is written after it was scanned counts as zero",
			harm:  "does not copy what was written between the scan and the attach",
			file:  "lun/internal/host/scanmap.go",
			edits: []edit{{"\tzero.Without(written)\n", ""}},
			test:  "TestScanCopiesWhatIsNotZero",
			in:    "lun",
		},
		{
			name:  "a scan begins with all bits of the table before it",
			harm:  "finds nothing",
			file:  "lun/internal/ops/scan.go",
			edits: []edit{{" Forget: true,", ""}},
			test:  "TestScanCopiesWhatIsNotZero",
			in:    "lun",
		},
		{
			name:  "the map of another scan is believed",
			harm:  "does not copy what an earlier scan found to be zero",
			file:  "lun/internal/host/scanmap.go",
			edits: []edit{{"|| !bytes.Equal(b[:mapBlock], mapHead(l)) {", "|| !bytes.Equal(b[:16], mapHead(l)[:16]) {"}},
			test:  "TestScanMap",
		},
		{
			name:  "a damaged block of the map is believed",
			harm:  "does not copy what a damaged drive calls zero",
			file:  "lun/internal/host/scanmap.go",
			edits: []edit{{"binary.LittleEndian.Uint32(block[mapBits:]) == mapSum(l.Scan, i, block[:mapBits])", "i > 0"}},
			test:  "TestScanMap",
		},
		{
			name:  "a scan notes what it has found though it was given up",
			harm:  "writes into the metadata of another LUN",
			file:  "lun/internal/ops/scanread.go",
			edits: []edit{{"left, ok := raidmeta.Bits(nil), now.Scan == r.l.Scan", "left, ok := raidmeta.Bits(nil), true"}},
			test:  "TestScanEndsWhenItIsGivenUp",
			in:    "lun",
		},
		{
			name:  "what is swapped in when a drive fails takes any plex",
			harm:  "starts from a plex that had failed long before",
			file:  "lun/internal/engine/undo.go",
			edits: []edit{{"complete := e.isSource(put, p.ID) && slices.Contains(sources, i)", "complete := true || slices.Contains(sources, i)"}},
			test:  "TestFaults/recover two of three",
			in:    "lun",
		},
		{
			name:  "a plex whose metadata cannot be read is passed over at the start",
			harm:  "starts an older plex",
			file:  "lun/internal/raid1/start.go",
			edits: []edit{{"\tif err := checkReadable(l, roles, reads); err != nil {\n\t\treturn nil, err\n\t}\n", ""}},
			test:  "TestAnOlderPlexIsNotStartedWhileTheNewerCannotBeRead",
			in:    "lun",
		},
		{
			name:  "a LUN that nothing can bring up stays suspended",
			harm:  "lets its users wait for ever",
			file:  "lun/internal/engine/undo.go",
			edits: []edit{{"if err != nil || !top.Suspended {", "if err == nil || !top.Suspended {"}},
			test:  "TestTheOnlyDriveFailsInTheSwap",
			in:    "lun",
		},
	}
}
