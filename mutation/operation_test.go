package mutation

// operationMutations is slips in how operations begin and end: lun/operation.go, lun/observe.go, lun/recover.go, resync.
func operationMutations() []mutation {
	return []mutation{
		{
			name:  "an operation has ended when the status line says so",
			harm:  "records a plex as whole that the kernel has not finished",
			file:  "lun/observe.go",
			edits: []edit{{"proven, err := m.proven(ctx, l, lostLegs(l, status))", "proven, err := true, ctx.Err()"}},
			test:  "TestTheEndIsProven/filled in part",
		},
		{
			name:  "an operation has ended when a leg is called failed",
			harm:  "records a plex as whole that the others have gone on without",
			file:  "lun/metadata.go",
			edits: []edit{{"super.FailedDevices&^out != 0 || ", ""}},
			test:  "TestTheEndIsProven/one called failed",
		},
		{
			name:  "an operation has ended before its plex is whole",
			harm:  "records a plex as whole that has got half of the data",
			file:  "lun/metadata.go",
			edits: []edit{{"super.RecoveryOffset != raidmeta.InSync || super.ResyncOffset != raidmeta.InSync", "super.ResyncOffset != raidmeta.InSync"}},
			test:  "TestTheEndIsProven/filled in part",
		},
		{
			name:  "an operation has ended before the plexes are equal",
			harm:  "records plexes as equal of which the end differs",
			file:  "lun/metadata.go",
			edits: []edit{{"super.RecoveryOffset != raidmeta.InSync || super.ResyncOffset != raidmeta.InSync", "super.RecoveryOffset != raidmeta.InSync"}},
			test:  "TestTheEndIsProven/made equal in part",
		},
		{
			name:  "a sector that was passed over does not matter",
			harm:  "records a plex as whole that lacks a sector",
			file:  "lun/observe.go",
			edits: []edit{{"if err := m.passedOver(ctx, l); err != nil {", "if err := m.passedOver(ctx, l); err == ctx.Err() && err != nil {"}},
			test:  "TestASectorThatIsPassedOverFailsTheOperation",
		},
		{
			name:  "the state before an operation passes for its failure",
			harm:  "ends a recovery because of the failure that it is to repair",
			file:  "lun/observe.go",
			edits: []edit{{"return seen, begun, err", "return seen, begun || err == nil, err"}},
			test:  "TestCrash/stops/recover on 6.12",
		},
		{
			name:  "a plex whose copy failed counts",
			harm:  "starts a LUN from a plex that was never whole",
			file:  "lun/operation.go",
			edits: []edit{{"l.Plexes[i].Stale || slices.Contains(op.Plexes, l.Plexes[i].ID)", "l.Plexes[i].Stale || slices.Contains(op.Plexes[:0], l.Plexes[i].ID)"}},
			test:  "TestRecordsSayWhatHasFailed/a copy has failed",
		},
		{
			name:  "a cancelled source is wiped before the swap",
			harm:  "zeroes the ends of a plex that stays one when the cancel fails or is cut off",
			file:  "lun/operation.go",
			edits: []edit{{`m.carryOut(ctx, "cancel", l.Name, slices.Concat(steps, after)`, `m.carryOut(ctx, "cancel", l.Name, slices.Concat([]step{wipe(*l.Operation.Source)}, steps, after)`}},
			test:  "TestACancelledSourceIsWipedAtTheEnd",
		},
		{
			name:  "a cancelled source is not wiped",
			harm:  "shows the file system of the target a second time, half of it",
			file:  "lun/operation.go",
			edits: []edit{{"source.Wipe = true", "source.Wipe = false"}},
			test:  "TestACancelledSourceIsWipedAtTheEnd",
		},
		{
			name:  "a cancelled source is called wiped before it is",
			harm:  "shows the file system of the target a second time after a crash",
			file:  "lun/operation.go",
			edits: []edit{{"[]step{wipe(l), tx.step(", "[]step{tx.step("}},
			test:  "TestWhatIsCalledWipedIsWiped",
		},
		{
			name:  "a cancelled source comes back before it has been let go",
			harm:  "gives users a LUN that the kernel still copies to",
			file:  "lun/operation.go",
			edits: []edit{{"slices.Concat(steps, after)", "slices.Concat(after, steps)"}},
			test:  "TestCancelRestoresTables",
		},
		{
			name:  "a plex that was never whole is recovered by the bits",
			harm:  "calls a plex a full copy that has got only what was written since",
			file:  "lun/recover.go",
			edits: []edit{{"next.Operation.Whole || p.Stale", "next.Operation.Whole"}},
			test:  "TestAPlexThatWasNeverWholeGetsEverything",
		},
		{
			name:  "the old part of an extended LUN lies where the new one does",
			harm:  "gives the same sectors to the LUN twice",
			file:  "lun/alloc.go",
			edits: []edit{{"extents[last].Length += e.Length", "extents[last].Length = e.Length"}},
			test:  "TestCrash/stops/extend on 6.12",
		},
		{
			name:  "an operation that stands still has ended",
			harm:  "records a plex as whole when the kernel is about to begin",
			file:  "resync/async.go",
			edits: []edit{{"case Done:\n\t\treturn a.settle", "case Done, Idle:\n\t\treturn a.settle"}, {"case Running, Idle:", "case Running:"}},
			test:  "TestIdleForAMomentIsNoFailure",
		},
		{
			name:  "an operation that failed has succeeded",
			harm:  "tells who waits that there are two copies",
			file:  "resync/async.go",
			edits: []edit{{"return a.settle(ctx, vds.CodeOf(seen.Err), seen.Err)", "return a.settle(ctx, vds.OK, nil)"}},
			test:  "TestFailures/a leg died",
		},
		{
			name:  "an operation that stands still now and then has failed",
			harm:  "gives a plex up that the kernel is filling",
			file:  "resync/async.go",
			edits: []edit{{"a.idleSince = time.Time{}", "_ = now"}},
			test:  "TestIdleForAMomentIsNoFailure",
		},
	}
}
