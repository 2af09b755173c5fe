package mutation

// driveMutations are bugs in what plexctl writes over, and in which drives it uses.
func driveMutations() []mutation {
	const absence, named = "lun/internal/host/absence.go", "lun/internal/host/named.go"
	const repair = "catalog/repair.go"
	return []mutation{
		{
			name: "a table that may have written to both plexes is replaced",
			harm: "a mirror goes on with plexes that differ, and nobody knows where",
			file: "lun/internal/ops/reenumerate.go", test: "TestScripts/foreign-table", in: "cmd/plexctl",
			edits: []edit{{"if !known || len(plexes) > 1 {", "if !known {"}},
		},
		{
			name: "a table that has written to one plex is replaced, and both count",
			harm: "what was written through the table is gone where reads go to the other plex",
			file: "lun/internal/ops/reenumerate.go", test: "TestScripts/foreign-table", in: "cmd/plexctl",
			edits: []edit{{"if known && len(plexes) == 1 {", "if known && len(plexes) == 1 && table == nil {"}},
		},
		{
			name: "a drive with plexes may be removed",
			harm: "the labels and catalogs of a drive go, and with them the LUNs on it",
			file: named, test: "TestScripts/drive-remove", in: "cmd/plexctl",
			edits: []edit{{"		if !l.Deleted && slices.Contains(l.Drives(), d.ID()) {", "		if l.Deleted && slices.Contains(l.Drives(), d.ID()) {"}, {"if d.Standing == Used && !known &&", "if d.Standing == Foreign && !known &&"}},
		},
		{
			name: "a repair does not write the catalog to the end that stays",
			harm: "the newest catalog is zeroed with the lost label, and the power fails: LUNs are gone",
			file: repair, test: "TestRepair",
			edits: []edit{{"if err := d.put(m, d.older(other, other+1), sequence, data); err != nil {", "if err := error(nil); err != nil || other < 0 {"}},
		},
		{
			name: "a repair begins with the label that is left",
			harm: "the only label of a drive is zeroed, and the power fails: every LUN on it is gone",
			file: repair, test: "TestRepair",
			edits: []edit{{"	if d.CopyLost {\n		lost = tailA", "	if d.HeadLost {\n		lost = tailA"}},
		},
		{
			name: "a repair does not read back what it has written",
			harm: "a drive that cannot keep its first blocks loses the other label, too",
			file: repair, test: "TestRepairReadsBack",
			edits: []edit{{"		_, err = readLabel(m, start, start+FirstExtent)", "		_ = start"}},
		},
		{
			name: "assemble repairs a drive that somebody else has written to",
			harm: "a new file system loses its start, and a plex that was written over counts",
			file: "lun/internal/ops/repair.go", test: "TestScripts/drive-repair", in: "cmd/plexctl",
			edits: []edit{{"if err == nil && !remains.Other {", "if err == nil && (!remains.Other || d != nil) {"}},
		},
		{
			name: "a plex on a drive that was written over counts",
			harm: "a mirror is read from, and filled from, a plex with another program's data in it",
			file: "lun/internal/record/repair.go", test: "TestCrash/stops/repair_a_drive_that_was_written_over_on_6.12", in: "lun",
			edits: []edit{{"l.Plexes[i].Stale = p.Stale || hit ||", "l.Plexes[i].Stale = p.Stale ||"}},
		},
		{
			name: "a drive above a LUN may be initialised",
			harm: "a label on a loop device whose file lies on a LUN, or on a mapping of it, destroys what the LUN holds",
			file: named, test: "TestInitRefusesDevicesOfLUNs", in: "lun",
			edits: []edit{{"if d.Dev == info.Dev || slices.Contains(below, d.Dev) {", "if d.Dev == info.Dev {"}},
		},
		{
			name: "a disk below a drive may be initialised",
			harm: "a label on a disk overwrites the partition that is a drive with LUNs",
			file: named, test: "TestInitRefusesDevicesOfDrives", in: "lun",
			edits: []edit{{"if slices.Contains(under, info.Dev) {", "if slices.Contains(under, info.Dev) && false {"}},
		},
		{
			name: "a drive of a newer plexctl may be initialised by force",
			harm: "an old plexctl empties a drive whose LUNs it cannot see",
			file: named, test: "TestInitOverWhatCannotBeRead/feature that forbids us", in: "lun",
			edits: []edit{{"case errors.Is(err, catalog.ErrVersion), err == nil && ", "case errors.Is(err, catalog.ErrVersion), !force && err == nil && "}},
		},
		{
			name: "catalogs behind damaged labels do not count",
			harm: "init by force empties a drive of which two blocks are damaged and every LUN is whole",
			file: named, test: "TestInitOverWhatCannotBeRead/labels_damaged,_LUNs", in: "lun",
			edits: []edit{{"	lost := remains.LUNs\n", "	var lost []catalog.LUN\n"}},
		},
		{
			name: "a write-protected drive takes part",
			harm: "a mirror cannot be started by force because one of its drives takes no metadata",
			file: absence, test: "TestUnfitDriveOfAMirror/read-only", in: "lun",
			edits: []edit{{"	case d.Protected():\n		return fault.Protected(\"\", d.Info.Path)\n	case l.BlockSize", "	case l.BlockSize"}},
		},
		{
			name: "a drive with larger blocks takes part",
			harm: "a LUN gets larger logical blocks, and the file system on it cannot be mounted any more",
			file: absence, test: "TestUnfitDriveOfALUN/4Kn", in: "lun",
			edits: []edit{{"d.Info.LogicalBlock > l.BlockSize:", "d.Info.LogicalBlock > 2*l.BlockSize*l.BlockSize:"}},
		},
		{
			name: "the logical block size is not recorded",
			harm: "nobody can tell that a drive has come back with other blocks",
			file: "lun/internal/host/commit.go", test: "TestBlockSizeIsRecorded", in: "lun",
			edits: []edit{{"	next.BlockSize = h.blockSize(next)\n", ""}},
		},
		{
			name: "a LUN beyond the end of its drive is started by force",
			harm: "the end of the LUN is missing, and a file system on it is mounted all the same",
			file: absence, test: "TestALUNThatReachesBeyondTheEnd", in: "lun",
			edits: []edit{{"case !d.Store.Has(l):", "case !d.Store.Has(l) && !h.running[l.ID]:"}},
		},
		{
			name: "a stale plex on a drive that has shrunk is filled",
			harm: "plexctl writes to a drive whose end it does not know",
			file: absence, test: "TestUnfitDriveOfAMirror/shrunk", in: "lun",
			edits: []edit{{"(!h.running[l.ID] || staleOn(l, id)):", "!h.running[l.ID]:"}},
		},
		{
			name: "a drive that has refused a write is tried again",
			harm: "a mirror is not started although only one of its drives is write-protected",
			file: absence, test: "TestADriveThatRefusesWrites", in: "lun",
			edits: []edit{{"		d.refused.Store(true)\n", "		_ = d\n"}},
		},
		{
			name: "a drive that has shrunk has room",
			harm: "new LUNs get sectors that the device does not have",
			file: "catalog/space.go", test: "TestReadShrunk",
			edits: []edit{{"if !ok || d.Shrunk() {", "if !ok {"}},
		},
		{
			name: "the end is looked for where the device ends now",
			harm: "the only whole label of a drive that has grown is not found, and its LUNs are gone",
			file: "catalog/find.go", test: "TestFindFormerEnd",
			edits: []edit{{"	start := TailStart(driveSize(first))\n", "	start := TailStart(deviceSize) - blockSize\n"}},
		},
		{
			name: "grow writes no catalog to the new end",
			harm: "the start of a drive is lost after it has grown, and with it every LUN",
			file: "catalog/grow.go", test: "TestGrowCut",
			edits: []edit{{"	if err := d.put(m, tailA, next.Sequence, data); err != nil {\n		return err\n	}\n", "	_ = data\n"}},
		},
		{
			name: "grow says the new size first",
			harm: "the power fails, and the label names a copy that is not there",
			file: "catalog/grow.go", test: "TestGrowCut",
			edits: []edit{{
				"	d.slots[tailB] = 0\n",
				"	d.slots[tailB] = 0\n	if err := writeSync(m, block, labelOffset); err != nil {\n		return err\n	}\n",
			}},
		},
	}
}
