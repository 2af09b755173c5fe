package mutation

// silentMutations are bugs in what is done about devices that do not answer, and about those that are left out.
func silentMutations() []mutation {
	const silent = "lun/internal/host/silent.go"
	return []mutation{
		{
			name:  "a LUN on a device that does not answer is changed",
			harm:  "lets the kernel wait for that device, with the LUN suspended",
			file:  silent,
			edits: []edit{{"if owner, _ := layout.OwnerOf(d.UUID); owner != l.ID {", "if owner, _ := layout.OwnerOf(d.UUID); owner == l.ID {"}},
			test:  "TestLegThatDoesNotAnswer",
			in:    "lun",
		},
		{
			name:  "an answer that arrives late is taken for a new one",
			harm:  "commits on top of records that another process has replaced",
			file:  silent,
			edits: []edit{{"			if mine {", "			if mine || true {"}},
			test:  "TestOldAnswer",
			in:    "lun",
		},
		{
			name:  "a device that is suspended is read",
			harm:  "leaves a process behind that no signal ends",
			file:  silent,
			edits: []edit{{"case now.Suspended:", "case false:"}},
			test:  "TestSuspendedDevice",
			in:    "lun",
		},
		{
			name:  "a drive that is left out is forgotten, although a LUN uses it",
			harm:  "takes a copy of it for the drive, and writes records there",
			file:  "lun/internal/host/read.go",
			edits: []edit{{"errs[i] = catalog.ErrNoLabel\n\t\t} else if", "delete(c.infos, infos[i].Dev)\n\t\t\terrs[i] = catalog.ErrNoLabel\n\t\t} else if"}},
			test:  "TestScripts/config",
			in:    "cmd/plexctl",
		},
		{
			name:  "a reader that is sent away is replaced by the process itself",
			harm:  "keeps plexctl from ending while a device does not answer",
			file:  "blockdev/apart/host.go",
			edits: []edit{{"r.end(os.ErrClosed)", "_ = os.ErrClosed; r.end(errEnded)"}},
			test:  "TestHangs",
			in:    "blockdev/apart",
		},
		{
			name:  "each command leaves a reader behind for a device that does not answer",
			harm:  "fills the machine with processes that no signal ends",
			file:  "blockdev/apart/host.go",
			edits: []edit{{"for marked(h.marks, path) && !r.closed() {", "for marked(h.marks, path) && false {"}},
			test:  "TestMark",
			in:    "blockdev/apart",
		},
	}
}
