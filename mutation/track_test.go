package mutation

// trackMutations is bugs in what is not copied.
func trackMutations() []mutation {
	return []mutation{
		{
			name:  "what was blank before the window counts",
			harm:  "does not copy what was written between the survey and the swap",
			file:  "lun/known.go",
			edits: []edit{{"ranges, err := k.source.Confirm(ctx, k.ranges)", "ranges, err := k.ranges, ctx.Err()"}},
			test:  "TestThinWriteMeanwhile",
		},
		{
			name:  "what was unwritten before the window counts",
			harm:  "does not copy what was written while the drive of the new plex zeroed it",
			file:  "lun/track.go",
			edits: []edit{{"same := b.unwritten(ctx, m)", "same := bytes.Clone(b.zeroed)"}, {"\t\"context\"\n", "\t\"bytes\"\n\t\"context\"\n"}},
			test:  "TestTrackedWriteMeanwhile",
		},
		{
			name:  "new plexes are not zeroed",
			harm:  "leaves on the new plex what it held before wherever nothing was written",
			file:  "lun/track.go",
			edits: []edit{{"for start, end := range stretches(regions, l) {", "for start, end := range stretches(nil, catalog.LUN{}) {"}},
			test:  "TestTracked/6.12",
		},
		{
			name:  "a tracked mirror always counts as stopped clean",
			harm:  "leaves plexes different after a power cut",
			file:  "lun/metadata.go",
			edits: []edit{{"if len(holding) == 1 || allClean(slots[:len(holding)]) {", "if len(holding) > 0 || allClean(slots) {"}},
			test:  "TestTracked/6.12",
		},
		{
			name:  "a mirror's bits are taken for those of a tracked one",
			harm:  "copies to a new plex only what was written a moment ago",
			file:  "lun/track.go",
			edits: []edit{{"if !b.c.l.Tracked() {", "if !b.c.was.mirror {"}},
			test:  "TestThin/6.12",
		},
		{
			name:  "a source that was zeroed is given back as it was",
			harm:  "gives back a mirror whose plexes differ, and calls them equal",
			file:  "lun/commit.go",
			edits: []edit{{"back[i].Wipe = l.Wipe || tx.ruined != nil && tx.ruined(l)", "back[i].Wipe = l.Wipe"}},
			test:  "TestRuinedSource",
		},
	}
}
