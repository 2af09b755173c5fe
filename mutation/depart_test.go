package mutation

// departMutations is bugs in how plexes leave a LUN.
func departMutations() []mutation {
	return []mutation{
		{
			name:  "a plex that is leaving is forgotten at once",
			harm:  "starts from a plex that has failed meanwhile, without the writes since",
			file:  "lun/internal/engine/swap.go",
			edits: []edit{{"\t\te.depart(s)\n", ""}},
			test:  "TestRunsOnAfterAStop",
			in:    "lun",
		},
		{
			name:  "the metadata of plexes that were leaving is not read at a start",
			harm:  "starts from a plex that has failed meanwhile, without the writes since",
			file:  "lun/internal/ops/depart.go",
			edits: []edit{{"outcome == raid1.Rejoins || ", ""}},
			test:  "TestRunsOnAfterAStop",
			in:    "lun",
		},
		{
			name:  "a plex counts as gone before the swap",
			harm:  "gives the space of a plex away while the kernel writes to it",
			file:  "lun/internal/ops/depart.go",
			edits: []edit{{"\tif err := s.BringUp(ctx, l); err != nil {\n\t\treturn l, err\n\t}\n\treturn s.Part(", "\treturn s.Part("}},
			test:  "TestALeavingPlex",
			in:    "lun",
		},
		{
			name:  "the space of a plex that is leaving is free",
			harm:  "gives the space of a plex away while the kernel writes to it",
			file:  "catalog/space.go",
			edits: []edit{{"owned := l.owned()", "owned := l.Plexes"}},
			test:  "TestALeavingPlexOwnsItsSpace",
		},
		{
			name:  "the drive of a plex that is leaving drops the record",
			harm:  "does not know its newest copy when the other drives are away",
			file:  "catalog/space.go",
			edits: []edit{{"slices.ContainsFunc(l.owned(), func(p Plex) bool { return p.on(drive) })", "slices.ContainsFunc(l.Plexes, func(p Plex) bool { return p.on(drive) })"}},
			test:  "TestALeavingPlexOwnsItsSpace",
		},
		{
			name:  "a plex that was leaving may be missing",
			harm:  "starts from an older copy although a newer one may come back",
			file:  "lun/internal/ops/depart.go",
			edits: []edit{{"\tif why != nil && !how.force {\n\t\treturn l, why\n\t}\n", ""}},
			test:  "TestALeavingPlexAndAMissingDrive",
			in:    "lun",
		},
		{
			name:  "a live mirror that has only plexes that are leaving is not seen",
			harm:  "keeps a LUN from every change, until its only good copy is thrown away by force",
			file:  "lun/internal/ops/depart.go",
			edits: []edit{{"raid1.RunsBefore(l, legs) && raid1.OnlyLeaving(l, legs)", "raid1.RunsBefore(l, legs) && !raid1.OnlyLeaving(l, legs) && false"}},
			test:  "TestOnlyALeavingPlexIsLeft",
			in:    "lun",
		},
		{
			name:  "metadata that the kernel has used counts for nothing",
			harm:  "takes a plex back that has missed writes, or does not start",
			file:  "lun/internal/ops/depart.go",
			edits: []edit{{"if raid1.Used(l, h.Roles(l), reads) {", "if raid1.Used(l, h.Roles(l), reads) && false {"}},
			test:  "TestTheKernelHasLetGo",
			in:    "lun",
		},
		{
			name:  "a target that is leaving counts for nothing",
			harm:  "loses what was written after the copy had ended in the kernel and its source was lost",
			file:  "lun/internal/raid1/depart.go",
			edits: []edit{{"return health == dm.LegInSync || health == dm.LegSyncing", "return health == dm.LegInSync"}},
			test:  "TestDeparts/being filled",
		},
		{
			name:  "the slots of plexes that are leaving are those of the record",
			harm:  "reads old metadata for the newest",
			file:  "lun/internal/raid1/depart.go",
			edits: []edit{{"leg && slot != p.Slot {", "leg && slot != p.Slot && false {"}},
			test:  "TestDeparts/in a slot of no record",
		},
		{
			name:  "a plex on a changed device is known to be an earlier copy",
			harm:  "drops the newest copy when its drive was moved into another enclosure",
			file:  "lun/internal/raid1/depart.go",
			edits: []edit{{"\tcase trusted:\n\t\treturn PartUnknown\n", "\tcase trusted && false:\n\t\treturn PartUnknown\n"}},
			test:  "TestPartingOf/on a changed device",
		},
	}
}
