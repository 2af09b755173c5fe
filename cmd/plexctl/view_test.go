package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func TestPercent(t *testing.T) {
	tests := []struct {
		name        string
		done, total size.Sectors
		want        int
	}{
		{"nothing to do", 0, 0, 100},
		{"nothing done", 0, 1000, 0},
		{"half", 500, 1000, 50},
		{"rounded down", 999, 1000, 99},
		{"never 100 too early", 1<<50 - 1, 1 << 50, 99},
		{"all", 1000, 1000, 100},
		{"more than all", 1001, 1000, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := percent(tt.done, tt.total); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestSpeed(t *testing.T) {
	gib := size.GiB.Sectors()
	tests := []struct {
		name   string
		status resync.Status
		age    time.Duration
		rate   size.Bytes
		left   time.Duration
	}{
		{"as seen", resync.Status{Done: gib, Total: 2 * gib, Rate: size.MiB, ETA: time.Minute}, time.Hour, size.MiB, time.Minute},
		{"on average", resync.Status{Done: gib, Total: 3 * gib}, 64 * time.Second, 16 * size.MiB, 128 * time.Second},
		{"nothing done", resync.Status{Total: gib}, time.Hour, 0, 0},
		{"too young", resync.Status{Done: gib, Total: 3 * gib}, time.Second - 1, 0, 0},
		{"clock set back", resync.Status{Done: gib, Total: 3 * gib}, -time.Hour, 0, 0},
		{"all done", resync.Status{Done: gib, Total: gib}, 1024 * time.Second, size.MiB, 0},
		{"more done than there is", resync.Status{Done: 2 * gib, Total: gib}, 1024 * time.Second, 2 * size.MiB, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rate, left := speed(tt.status, tt.age)
			if rate != tt.rate || left != tt.left {
				t.Errorf("%s/s and %s, want %s/s and %s", rate, left, tt.rate, tt.left)
			}
		})
	}
}

func TestProgressText(t *testing.T) {
	tests := []struct {
		name string
		rate size.Bytes
		left time.Duration
		want string
	}{
		{"speed unknown", 0, 0, "41 %, 820 MiB of 2.0 GiB"},
		{"speed known", 85 * size.MiB, 14600 * time.Millisecond, "41 %, 820 MiB of 2.0 GiB, 85 MiB/s, 15s left"},
		{"hours", size.KiB, 30 * time.Hour, "41 %, 820 MiB of 2.0 GiB, 1.0 KiB/s, 30h0m0s left"},
		{"about to end", size.GiB, 400 * time.Millisecond, "41 %, 820 MiB of 2.0 GiB, 1.0 GiB/s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := progressText(41, 820*size.MiB, 2*size.GiB, tt.rate, tt.left)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOperationLimit(t *testing.T) {
	id := uuid.New()
	of := &resync.Descriptor{ID: id}
	pending := newCode(vds.ErrOperationPending)
	tests := []struct {
		name   string
		result codeDoc
		state  resync.State
		props  lun.Properties
		want   operationDoc // its limits
		text   string
		column string
	}{
		{"none", pending, resync.Running, lun.Properties{Operation: of}, operationDoc{}, "add-plex 50 %, 1.0 MiB of 2.0 MiB", ""},
		{
			"a rate", pending, resync.Running,
			lun.Properties{Operation: of, Rate: 50 * size.MiB},
			operationDoc{Limit: 50 * size.MiB},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB, at most 50 MiB/s", "50 MiB/s",
		},
		{
			"paused", pending, resync.Running,
			lun.Properties{Operation: of, Rate: lun.Paused},
			operationDoc{Paused: true},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB, paused", "paused",
		},
		{
			"queued", pending, resync.Queued,
			lun.Properties{Operation: of, Queued: true},
			operationDoc{},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB, queued", "",
		},
		{
			"queued, with a rate", pending, resync.Queued,
			lun.Properties{Operation: of, Queued: true, Rate: size.MiB},
			operationDoc{Limit: size.MiB},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB, queued, at most 1.0 MiB/s", "1.0 MiB/s",
		},
		{
			"queued and paused", pending, resync.Queued,
			lun.Properties{Operation: of, Queued: true, Rate: lun.Paused},
			operationDoc{Paused: true},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB, queued, paused", "paused",
		},
		{
			"it has ended", newCode(vds.OK), resync.Done,
			lun.Properties{Operation: of, Rate: size.MiB},
			operationDoc{},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB", "",
		},
		{
			"another operation", pending, resync.Running,
			lun.Properties{Operation: &resync.Descriptor{ID: uuid.New()}, Rate: size.MiB},
			operationDoc{},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB", "",
		},
		{
			"no operation", pending, resync.Running,
			lun.Properties{Rate: size.MiB},
			operationDoc{},
			"add-plex 50 %, 1.0 MiB of 2.0 MiB", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := operationDoc{
				ID: id, Type: vds.AsyncAddLUNPlex, State: tt.state, Result: tt.result, Percent: 50, Done: size.MiB, Total: 2 * size.MiB,
			}
			doc.limit(tt.props)
			got := operationDoc{Limit: doc.Limit, Paused: doc.Paused}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(codeDoc{})); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{tt.text, tt.column}, []string{operationText(doc), doc.limitText()}); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCancellable(t *testing.T) {
	tests := []struct {
		name   string
		kind   vds.AsyncType
		state  resync.State
		result vds.Code
		want   bool
	}{
		{"runs", vds.AsyncAddLUNPlex, resync.Running, vds.ErrOperationPending, true},
		{"about to begin", vds.AsyncAddLUNPlex, resync.Idle, vds.ErrOperationPending, true},
		{"done", vds.AsyncAddLUNPlex, resync.Done, vds.OK, false},
		{"cancelled", vds.AsyncAddLUNPlex, resync.Canceled, vds.ErrOperationCanceled, false},
		{"failed", vds.AsyncAddLUNPlex, resync.Failed, vds.ErrObjectStatusFailed, false},
		{"takes nothing back", vds.AsyncRecoverLUN, resync.Running, vds.ErrOperationPending, false},
		{"an extension", vds.AsyncExtendLUN, resync.Running, vds.ErrOperationPending, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := operationDoc{Type: tt.kind, State: tt.state, Result: newCode(tt.result)}
			if got := doc.cancellable(); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
		})
	}
}

func TestNewLUNDoc(t *testing.T) {
	id, here, gone := uuid.New(), uuid.New(), uuid.New()
	drives := map[uuid.UUID]driveRef{here: {ID: here, Path: "/dev/sdb"}}
	properties := func(change func(*lun.Properties)) lun.Properties {
		p := lun.Properties{
			ID: id, Name: "web1", Size: 2048, Done: 2048, Type: vds.TypeMirror, Status: vds.StatusOnline, Health: vds.HealthHealthy,
			Action: dm.ActionIdle, Device: "/dev/mapper/plex-web1", Open: 1,
			Plexes: []lun.PlexProperties{
				{ID: id, Size: 2048, Type: vds.TypeSimple, Health: vds.HealthHealthy, Drives: []uuid.UUID{here}},
				{ID: id, Size: 2048, Type: vds.TypeSimple, Health: vds.HealthHealthy, Drives: []uuid.UUID{gone}},
			},
		}
		change(&p)
		return p
	}
	type part struct {
		Resync   *resyncDoc
		Problems []errorDoc
	}
	tests := []struct {
		name   string
		change func(*lun.Properties)
		want   part
	}{
		{"healthy", func(*lun.Properties) {}, part{}},
		{
			"resync after a crash", func(p *lun.Properties) { p.Action, p.Done = dm.ActionResync, 512 },
			part{Resync: &resyncDoc{Action: "resync", Percent: 25, Done: 256 * size.KiB, Total: size.MiB}},
		},
		{
			"a resync that has not begun", func(p *lun.Properties) { p.Done = 0 },
			part{Resync: &resyncDoc{Action: "idle", Total: size.MiB}},
		},
		{
			"a failed plex", func(p *lun.Properties) {
				p.Plexes[1].Health = vds.HealthFailed
				p.Problem = &vds.Error{Code: vds.ErrObjectStatusFailed, Reason: "plex x has failed", Hint: "run y"}
			},
			part{Problems: []errorDoc{{codeDoc: newCode(vds.ErrObjectStatusFailed), Message: "plex x has failed", Hint: "run y"}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := newLUNDoc(properties(tt.change), drives)
			got := part{doc.Resync, doc.Problems}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(codeDoc{}, errorDoc{})); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	err := errors.Join(
		&vds.Error{Code: vds.ErrIO, Op: "commit", Object: "drive x", Reason: "no", Hint: "check the drive"},
		errors.New("taking it back: no"),
	)
	want := errorDoc{codeDoc: newCode(vds.ErrIO), Message: "commit drive x: no; taking it back: no", Hint: "check the drive"}
	if diff := cmp.Diff(want, newErrorDoc(err), cmp.AllowUnexported(codeDoc{}, errorDoc{})); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}
