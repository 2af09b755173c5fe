package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func newDriveDoc(d lun.Drive) driveDoc {
	return driveDoc{
		ID: d.ID, Path: d.Info.Path, LastPath: d.LastPath, Size: d.Info.Size, Free: d.Free.Bytes(), Grown: d.Grown.Bytes(), ReadOnly: d.Info.ReadOnly,
		LogicalBlock: d.Info.LogicalBlock, PhysicalBlock: d.Info.PhysicalBlock,
		Model: d.Info.Model, Serial: d.Info.Serial, Host: d.Label.Host, Created: d.Label.Created.UTC(),
		LUNs: append([]string{}, d.LUNs...), Foreign: d.State == lun.DriveForeign, State: d.State, Changed: d.Changed, Rivals: append([]string{}, d.Rivals...),
		Hardware: d.Label.Hardware, Identity: string(d.Info.Identity),
	}
}

func newDriveRef(d lun.Drive) driveRef {
	if d.State == lun.DriveMissing {
		return driveRef{ID: d.ID, LastPath: d.LastPath, Model: d.Info.Model, Serial: d.Info.Serial}
	}
	return driveRef{ID: d.ID, Path: d.Info.Path}
}

// driveRefs names each drive of a LUN, by GUID.
func (h *host) driveRefs() map[uuid.UUID]driveRef {
	refs := map[uuid.UUID]driveRef{}
	for id, path := range h.DrivePaths() {
		refs[id] = driveRef{ID: id, Path: path}
	}
	for _, d := range h.Missing() {
		refs[d.ID] = newDriveRef(d)
	}
	return refs
}

// was tells where a drive that is missing was, and what it is; empty when no record says.
func (d driveRef) was() string { return wasText(d.LastPath, d.Model, d.Serial) }

func wasText(path, model, serial string) string {
	if path == "" {
		return ""
	}
	texts := []string{"was " + path}
	if model != "" {
		texts = append(texts, model)
	}
	if serial != "" {
		texts = append(texts, "serial "+serial)
	}
	return strings.Join(texts, ", ")
}

// text names the drive for people.
func (d driveRef) text() string {
	if was := d.was(); d.Path == "" && was != "" {
		return "missing: " + was
	}
	return cmp.Or(d.Path, "missing:"+d.ID.String())
}

// listOf is f of each of all. It is never nil, which would not be an empty list in JSON.
func listOf[T, U any](all []T, f func(T) U) []U {
	list := make([]U, len(all))
	for i, one := range all {
		list[i] = f(one)
	}
	return list
}

// record returns a LUN and its record on the drives.
func (h *host) record(ref string) (*lun.LUN, catalog.LUN, error) {
	l, err := h.LUN(ref)
	if err != nil {
		return nil, catalog.LUN{}, err
	}
	record, err := l.Record()
	return l, record, err
}

// survey looks at every operation, and then at every LUN. The order matters: the look at an operation may find that it has
// ended, and the LUN is then shown without it.
func (h *host) survey(ctx context.Context) ([]operationDoc, []lun.Properties, error) {
	operations, err := h.operations(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, err := h.Survey(ctx)
	for _, p := range all {
		for i := range operations {
			operations[i].limit(p)
		}
	}
	return operations, all, err
}

// luns looks at every LUN.
func (h *host) luns(ctx context.Context) ([]lunDoc, error) {
	operations, all, err := h.survey(ctx)
	if err != nil {
		return nil, err
	}
	drives := h.driveRefs()
	return listOf(all, func(p lun.Properties) lunDoc { return newLUNDoc(p, drives, operations...) }), nil
}

// lun looks at one LUN.
func (h *host) lun(ctx context.Context, ref string) (lunDoc, error) {
	l, err := h.LUN(ref)
	if err != nil {
		return h.orphan(ctx, ref, err)
	}
	operation, err := l.Operation()
	if err != nil {
		return lunDoc{}, err
	}
	var operations []operationDoc
	if operation != nil {
		doc, err := h.operation(ctx, operation)
		if err != nil {
			return lunDoc{}, err
		}
		operations = append(operations, doc)
	}
	props, err := l.Properties(ctx)
	if err != nil {
		return lunDoc{}, err
	}
	doc := newLUNDoc(props, h.driveRefs(), operations...)
	if props.Tracked {
		written, err := l.Written(ctx)
		if err != nil {
			return lunDoc{}, err
		}
		doc.Written = &written
	}
	return doc, nil
}

// orphan looks at the LUN without a record that ref names. It returns err if there is none.
func (h *host) orphan(ctx context.Context, ref string, err error) (lunDoc, error) {
	all, surveyErr := h.Survey(ctx)
	for _, p := range all {
		if surveyErr == nil && p.Orphan && (p.Name == ref || p.ID.String() == ref) {
			return newLUNDoc(p, nil), nil
		}
	}
	return lunDoc{}, err
}

// newLUNDoc makes the document of a LUN. It takes the operation of the LUN from operations.
func newLUNDoc(p lun.Properties, drives map[uuid.UUID]driveRef, operations ...operationDoc) lunDoc {
	doc := lunDoc{
		ID: p.ID, Name: p.Name, Size: p.Size.Bytes(), Type: p.Type, Status: p.Status, Health: p.Health,
		Device: p.Device, Openers: p.Open, Tracked: p.Tracked, Scanning: p.Scanning, Making: p.Making, Foreign: p.Foreign, Resync: newResyncDoc(p),
		Orphan: p.Orphan, Redundant: p.Redundant, Mismatch: p.Mismatches.Bytes(), Plexes: []plexDoc{},
	}
	if p.Problem != nil {
		doc.Problems = append(doc.Problems, newErrorDoc(p.Problem))
	}
	for _, x := range p.Plexes {
		doc.Plexes = append(doc.Plexes, newPlexDoc(x, drives))
	}
	for _, o := range operations {
		if p.Operation != nil && p.Operation.ID == o.ID {
			o.limit(p)
			doc.Operation = &o
		}
	}
	return doc
}

// newResyncDoc returns nil if the kernel copies nothing. While the LUN is suspended it is frozen.
func newResyncDoc(p lun.Properties) *resyncDoc {
	if p.Action == "" || p.Action == dm.ActionFrozen || p.Action == dm.ActionIdle && p.Done == p.Size {
		return nil
	}
	return &resyncDoc{
		Action: string(p.Action), Percent: percent(p.Done, p.Size), Done: p.Done.Bytes(), Total: p.Size.Bytes(),
	}
}

// percent returns how much of total is done, and never 100 before all of it is.
func percent(done, total size.Sectors) int {
	if total == 0 || done >= total {
		return 100
	}
	return min(99, int(float64(done)/float64(total)*100))
}

func newPlexDoc(p lun.PlexProperties, known map[uuid.UUID]driveRef) plexDoc {
	drives := listOf(p.Drives, func(id uuid.UUID) driveRef {
		ref := known[id]
		ref.ID = id
		return ref
	})
	slices.SortStableFunc(drives, func(a, b driveRef) int {
		return cmp.Or(cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return plexDoc{ID: p.ID, Size: p.Size.Bytes(), Type: p.Type, Status: p.Status, Health: p.Health, Drives: drives, Leaving: p.Leaving}
}

// driveText formats the drives of a plex as a cell.
func driveText(drives []driveRef) string {
	return strings.Join(listOf(drives, driveRef.text), ",")
}

// operations looks at every operation, running or the last one of its LUN. They are in the order of the names of the LUNs.
func (h *host) operations(ctx context.Context) ([]operationDoc, error) {
	docs := []operationDoc{}
	for _, o := range h.Operations() {
		doc, err := h.operation(ctx, o)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// operation looks at one operation. The caller adds its rate limit: see limit.
func (h *host) operation(ctx context.Context, o *resync.Async) (operationDoc, error) {
	status, err := o.QueryStatus(ctx)
	if err != nil && status.Pending() {
		return operationDoc{}, err
	}
	return h.operationDoc(o, status), nil
}

// limitedOperation looks at one operation and its LUN.
func (h *host) limitedOperation(ctx context.Context, o *resync.Async) (operationDoc, error) {
	doc, err := h.operation(ctx, o)
	if err != nil || !doc.pending() {
		return doc, err
	}
	props, err := h.propertiesOf(ctx, o)
	doc.limit(props)
	return doc, err
}

// propertiesOf looks at the LUN of an operation. It returns zero properties if the LUN is gone.
func (h *host) propertiesOf(ctx context.Context, o *resync.Async) (lun.Properties, error) {
	l, err := h.LUN(o.LUN.String())
	if err != nil {
		return lun.Properties{}, nil //nolint:nilerr // nothing else can be wrong with a whole GUID
	}
	props, err := l.Properties(ctx)
	if errors.Is(err, vds.ErrObjectDeleted) {
		return lun.Properties{}, nil
	}
	return props, err
}

// limit adds how fast the operation may copy, if p belongs to its LUN.
func (d *operationDoc) limit(p lun.Properties) {
	if p.Operation == nil || p.Operation.ID != d.ID || !d.pending() {
		return
	}
	d.Behind = p.Behind
	if d.Paused = p.Rate == lun.Paused; d.Paused {
		d.Rate, d.ETA = 0, 0
	} else {
		d.Limit = p.Rate
	}
}

func (h *host) operationDoc(o *resync.Async, s resync.Status) operationDoc {
	doc := operationDoc{
		ID: o.ID, Type: o.Type, LUN: lunRef{ID: o.LUN}, Started: o.Started.UTC(), State: s.State, Result: newCode(s.Result),
		Percent: s.Percent, Done: s.Done.Bytes(), Total: s.Total.Bytes(),
	}
	if s.Pending() {
		rate, left := speed(s, h.now().Sub(o.Started))
		doc.Rate, doc.ETA = rate, int64(left.Round(time.Second)/time.Second)
	}
	if l, err := h.LUN(o.LUN.String()); err == nil {
		doc.LUN.Name = l.Name()
	}
	return doc
}

// speed returns how fast an operation copies and how long it will take. Without a recent measurement it takes the average
// since the operation began, which is age ago. Both are 0 while unknown.
func speed(s resync.Status, age time.Duration) (size.Bytes, time.Duration) {
	if s.Rate > 0 || s.Done == 0 || age < time.Second {
		return s.Rate, s.ETA
	}
	rate := float64(s.Done.Bytes()) / age.Seconds()
	left := float64((s.Total - min(s.Done, s.Total)).Bytes()) / rate
	return size.Bytes(rate), time.Duration(left * float64(time.Second))
}
