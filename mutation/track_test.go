package mutation

// trackMutations is bugs in what is not copied.
func trackMutations() []mutation {
	return []mutation{
		{
			name: "a LUN is zeroed under the host's lock",
			harm: "keeps every other LUN from being changed, for hours, also one whose users wait to be resumed",
			file: "lun/internal/ops/create.go", in: "lun",
			edits: []edit{{"if made.Making && s.Dry == nil {", "if made.Making && s.Dry == nil && false {"}},
			test:  "TestLittleIsWrittenUnderTheLock",
		},
		{
			name: "each verb has a lock of its own for the work on a LUN",
			harm: "gives room to another LUN that a process is still zeroing",
			file: "lun/internal/ops/making.go", in: "lun",
			edits: []edit{{`env.LockPath + "." + l.ID.String()`, `env.LockPath + "." + op`}},
			test:  "TestOthersGoOnWhileALUNIsZeroed",
		},
		{
			name: "the lock of a LUN is let go before the LUN is zeroed",
			harm: "gives room to another LUN that a process is still zeroing",
			file: "lun/internal/ops/create.go", in: "lun",
			edits: []edit{{"	defer release()\n	return makeReserved", "	release()\n	return makeReserved"}},
			test:  "TestOthersGoOnWhileALUNIsZeroed",
		},
		{
			name: "a LUN is made though its room is not reserved any more",
			harm: "makes a LUN of what another LUN holds",
			file: "lun/internal/ops/making.go", in: "lun",
			edits: []edit{{"!ok || !now.Making || now.Generation != l.Generation {", "!ok && now.Making {"}},
			test:  "TestALUNWhoseRoomIsLostIsNotMade",
		},
		{
			name: "a LUN that is being made is started",
			harm: "tells the new plexes of it that nothing was written where old data is",
			file: "lun/internal/ops/making.go", in: "lun",
			edits: []edit{{"\t\tif !l.Making || s.Set.Unheard(l.ID) {\n\t\t\tothers", "\t\tif len(l.Plexes) > 0 {\n\t\t\tothers"}},
			test:  "TestARoomWhoseMakerHasDiedIsFreed/assemble",
		},
		{
			name:  "what was blank before the window counts",
			harm:  "does not copy what was written between the survey and the swap",
			file:  "lun/internal/host/zeromap.go",
			edits: []edit{{"ranges, err := u.source.Confirm(ctx, u.ranges)", "ranges, err := u.ranges, ctx.Err()"}},
			test:  "TestThinWriteMeanwhile",
			in:    "lun",
		},
		{
			name:  "what was unwritten before the window counts",
			harm:  "does not copy what was written while the drive of the new plex zeroed it",
			file:  "lun/internal/engine/window.go",
			edits: []edit{{"same := s.unwritten(ctx, e)", "same := append(raidmeta.Bits(nil), s.zeroed...)"}},
			test:  "TestTrackedWriteMeanwhile",
			in:    "lun",
		},
		{
			name:  "new plexes are not zeroed",
			harm:  "leaves on the new plex what it held before wherever nothing was written",
			file:  "lun/internal/host/zero.go",
			edits: []edit{{"for start, end := range stretches(regions, l) {", "for start, end := range stretches(raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), false), l) {"}},
			test:  "TestTracked/6.12",
			in:    "lun",
		},
		{
			name:  "a tracked mirror always counts as stopped clean",
			harm:  "leaves plexes different after a power cut",
			file:  "lun/internal/raid1/start.go",
			edits: []edit{{"if len(complete) == 1 || allClean(slots[:len(complete)]) {", "if len(complete) > 0 || allClean(slots) {"}},
			test:  "TestTracked/6.12",
			in:    "lun",
		},
		{
			name:  "a mirror's bits are taken for those of a tracked one",
			harm:  "copies to a new plex only what was written a moment ago",
			file:  "lun/internal/engine/window.go",
			edits: []edit{{"if !s.Conv.LUN.Tracked() {\n", "if bits := s.Conv.Left(e.ReadAgain(ctx, s.Conv.LUN, s.Conv.Was), nil); s.Conv.Was.Mirror && bits != nil {\nall := raid1.AllRegions(s.Conv.LUN)\nall.Without(bits)\nreturn all\n}\nif !s.Conv.LUN.Tracked() {\n"}},
			test:  "TestThin/6.12",
			in:    "lun",
		},
		{
			name:  "a source that was zeroed is given back as it was",
			harm:  "gives back a mirror whose plexes differ, and calls them equal",
			file:  "lun/internal/host/commit.go",
			edits: []edit{{"back[i].Wipe = l.Wipe || tx.Ruined && l.ID == tx.Absorbed", "back[i].Wipe = l.Wipe"}},
			test:  "TestRuinedSource",
			in:    "lun",
		},
	}
}
