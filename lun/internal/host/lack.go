package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Lack says why a drive is not used, and what to do.
type Lack struct {
	Standing Standing // of the device that has the drive's label; empty when there is none
	Reason   string
	Hint     string
}

// Code is the code of an error about the lack: the same for one cause, whatever fails of it.
func (l Lack) Code() vds.Code {
	switch l.Standing {
	case Foreign:
		return vds.ErrAccessDenied
	case Copy, Ambiguous:
		return vds.ErrDiskConfigurationNotSync
	case Used, Mute, Missing, lower:
	}
	return vds.ErrObjectStatusFailed
}

// Lack says why a drive is not used. The zero Lack is for a drive that is.
func (h *Host) Lack(id uuid.UUID) Lack {
	if !h.Absent(id) {
		return Lack{}
	}
	for _, d := range h.Others { // a foreign one is the least likely to be meant
		if d.ID() == id && d.Standing != Foreign {
			return d.lack()
		}
	}
	for _, d := range h.Others {
		if d.ID() == id {
			return d.lack()
		}
	}
	lack := Lack{Reason: record.DriveObject(id) + " is missing", Hint: "attach the drive and run `plexctl assemble`"}
	if paths := h.Beside(); paths != "" {
		lack.Reason += ", or on a device that does not answer: " + paths
	}
	return lack
}

// lackOf says why nothing counts that is known of l.
func (h *Host) lackOf(l catalog.LUN) Lack {
	var lack Lack
	for _, d := range h.Others {
		holds := slices.ContainsFunc(d.Store.Catalog.LUNs, func(have catalog.LUN) bool { return have.ID == l.ID && !have.Deleted })
		if holds && (lack.Standing == "" || slices.Contains(l.Drives(), d.ID())) {
			lack = d.lack()
		}
	}
	return lack
}

// lack says why a device with a label is not used.
func (d *Drive) lack() Lack {
	drive, path, rivals := record.DriveObject(d.ID()), d.Info.Path, strings.Join(d.Rivals, ", ")
	switch d.Standing {
	case Foreign:
		who := "host " + d.Store.Label.Host + " used it last"
		if d.Store.Label.Host == "" {
			who = "its label names no host"
		}
		return Lack{
			Foreign, fmt.Sprintf("%s on %s is not this host's: %s", drive, path, who),
			"when no other host uses it: `plexctl drive take-over " + path + "`",
		}
	case Copy:
		return Lack{
			Copy, fmt.Sprintf("%s has the label of %s, which is on %s", path, drive, rivals),
			"detach " + path + ", or make it the drive: `plexctl drive choose " + path + "`",
		}
	case Ambiguous:
		return Lack{
			Ambiguous, fmt.Sprintf("%s is on several devices: %s", drive, strings.Join(d.family(), ", ")),
			"detach the copy, or say which is the drive: `plexctl drive choose DEVICE`",
		}
	case Used, Mute, Missing, lower:
	}
	return Lack{}
}

// family is the paths of all devices with d's label, sorted.
func (d *Drive) family() []string {
	all := append([]string{d.Info.Path}, d.Rivals...)
	slices.Sort(all)
	return all
}

// IsSpare reports whether nothing is lost with a device, because it has the label of a drive that is used and is elsewhere. A
// device that has become too small is no copy of it.
func (h *Host) IsSpare(d *Drive) bool {
	return d.Standing == Copy && !h.Absent(d.ID()) && !d.Store.Shrunk()
}

// spareOn reports whether the drive on a device is a spare one.
func (h *Host) spareOn(info blockdev.Info) bool {
	return slices.ContainsFunc(h.Others, func(d *Drive) bool { return d.Info.Dev == info.Dev && h.IsSpare(d) })
}

// Refused is the error of a use of a device that is not used; nil when it is.
func (d *Drive) Refused() error {
	lack := d.lack()
	if lack.Standing == "" {
		return nil
	}
	return &vds.Error{Code: lack.Code(), Op: "use", Object: d.Info.Path, Reason: lack.Reason, Hint: lack.Hint}
}

// damage is the problems of a device. A lost label is the first.
func (d *Drive) damage() []error {
	var problems []error
	for i, problem := range d.Store.Problems {
		e := &vds.Error{Code: vds.ErrDiskConfigurationCorrupt, Object: d.Info.Path, Err: problem}
		switch {
		case i == 0 && d.Store.LabelLost():
			e.Hint = repairHint(d.Info.Path)
		case !d.Store.Shrunk():
			e.Hint = "`plexctl reenumerate` writes it anew"
		}
		problems = append(problems, e)
	}
	return problems
}

// repairHint is the remedy for a lost label.
func repairHint(path string) string {
	return "write it anew from its copy: `plexctl drive repair " + path + "`"
}

// identityProblems is several devices with one label, and drives that are on another device than the label was written to.
func (h *Host) identityProblems() []error {
	var problems []error
	var told []uuid.UUID
	for _, d := range h.Others {
		if d.Standing == Foreign || slices.Contains(told, d.ID()) {
			continue
		}
		if d.Standing == Ambiguous {
			told = append(told, d.ID())
		}
		if d.Store.Shrunk() {
			problems = append(problems, d.damage()...)
			continue
		}
		lack := d.lack()
		problems = append(problems, &vds.Error{
			Code: vds.ErrDiskConfigurationNotSync, Reason: lack.Reason, Hint: lack.Hint, Err: catalog.ErrDuplicateDrive,
		})
	}
	for _, d := range h.ByPath() {
		if d.Changed() {
			problems = append(problems, d.changed())
		}
	}
	return problems
}

// ByPath is the drives that are used, sorted by path.
func (h *Host) ByPath() []*Drive {
	all := h.All()[:len(h.Drives)]
	slices.SortStableFunc(all, func(a, b *Drive) int { return strings.Compare(a.Info.Path, b.Info.Path) })
	return all
}

// changed is the error about a drive that is on another device than its label was written to.
func (d *Drive) changed() *vds.Error {
	now := "says nothing of itself"
	if d.Info.Identity != "" {
		now = "is " + string(d.Info.Identity)
	}
	return &vds.Error{
		Code:   vds.ErrDiskConfigurationNotSync,
		Reason: fmt.Sprintf("%s was labelled on %s, and %s %s: it may be a copy, of any age", record.DriveObject(d.ID()), d.Store.Label.Hardware, d.Info.Path, now),
		Hint:   "if this device has taken the place of the other: `plexctl drive choose " + d.Info.Path + "`",
	}
}
