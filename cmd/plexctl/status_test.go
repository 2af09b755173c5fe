package main

import (
	"errors"
	"testing"

	"github.com/plexctl/plexctl/vds"
)

func TestSummarize(t *testing.T) {
	l := func(h vds.Health, s vds.Status, problems ...errorDoc) lunDoc {
		return lunDoc{Health: h, Status: s, Problems: problems}
	}
	healthy, gone := l(vds.HealthHealthy, vds.StatusOnline), l(vds.HealthFailed, vds.StatusFailed)
	off := l(vds.HealthHealthy, vds.StatusOffline)
	with := func(d lunDoc, change func(*lunDoc)) lunDoc { change(&d); return d }
	adding := func(kind vds.AsyncType) func(*lunDoc) {
		return func(d *lunDoc) {
			d.Redundant, d.Operation = true, &operationDoc{Type: kind, Result: newCode(vds.ErrOperationPending)}
		}
	}
	rebuilding := l(vds.HealthRebuilding, vds.StatusOnline)
	tests := []struct {
		name     string
		luns     []lunDoc
		problems []errorDoc
		want     summary
		exit     error
	}{
		{"no LUN", nil, nil, allHealthy, nil},
		{"healthy", []lunDoc{healthy}, nil, allHealthy, nil},
		{"not active", []lunDoc{healthy, off}, nil, inactive, exitInactive},
		{"not active, a copy goes on later", []lunDoc{l(vds.HealthRebuilding, vds.StatusOffline)}, nil, inactive, exitInactive},
		{"not active, and a plex is gone", []lunDoc{l(vds.HealthFailedRedundancy, vds.StatusOffline)}, nil, degraded, exitDegraded},
		{"another host's", []lunDoc{with(l(vds.HealthUnknown, vds.StatusOffline, errorDoc{}), func(d *lunDoc) { d.Foreign = true })}, nil, degraded, exitDegraded},
		{"a third plex is being added", []lunDoc{with(rebuilding, adding(vds.AsyncAddLUNPlex)), healthy}, nil, working, nil},
		{"a third plex is being added, another LUN is not active", []lunDoc{with(rebuilding, adding(vds.AsyncAddLUNPlex)), off}, nil, inactive, exitInactive},
		{"a plex is being recovered", []lunDoc{with(rebuilding, adding(vds.AsyncRecoverLUN))}, nil, degraded, exitDegraded},
		{"the second plex is being added", []lunDoc{with(rebuilding, func(d *lunDoc) {
			adding(vds.AsyncAddLUNPlex)(d)
			d.Redundant = false
		})}, nil, degraded, exitDegraded},
		{"the plex that is being added is an earlier copy", []lunDoc{with(rebuilding, func(d *lunDoc) {
			adding(vds.AsyncAddLUNPlex)(d)
			d.Problems = []errorDoc{{}}
		})}, nil, degraded, exitDegraded},
		{"plexes differ", []lunDoc{l(vds.HealthFailingRedundancy, vds.StatusOnline)}, nil, degraded, exitDegraded},
		{"a bad drive", []lunDoc{healthy}, []errorDoc{{}}, degraded, exitDegraded},
		{"rebuilding", []lunDoc{l(vds.HealthRebuilding, vds.StatusOnline), healthy}, nil, degraded, exitDegraded},
		{"a plex is gone", []lunDoc{l(vds.HealthFailedRedundancy, vds.StatusOnline)}, nil, degraded, exitDegraded},
		{"unknown", []lunDoc{l(vds.HealthUnknown, vds.StatusOnline)}, nil, degraded, exitDegraded},
		{"a problem of a healthy one", []lunDoc{l(vds.HealthHealthy, vds.StatusOnline, errorDoc{})}, nil, degraded, exitDegraded},
		{"failed", []lunDoc{l(vds.HealthFailed, vds.StatusOffline)}, nil, failed, exitUnavailable},
		{"status failed", []lunDoc{l(vds.HealthRebuilding, vds.StatusFailed)}, nil, failed, exitUnavailable},
		{"I/O waits", []lunDoc{l(vds.HealthHealthy, vds.StatusNotReady)}, nil, failed, exitUnavailable},
		{"the worst wins", []lunDoc{gone, l(vds.HealthRebuilding, vds.StatusOnline), healthy}, []errorDoc{{}}, failed, exitUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := summarize(statusDocument{DriveCount: 1, LUNs: tt.luns, Problems: tt.problems})
			if got != tt.want || !errors.Is(got.exit(), tt.exit) {
				t.Errorf("%s with %v, want %s with %v", got, got.exit(), tt.want, tt.exit)
			}
		})
	}
}

func TestSummarizeWithoutDrives(t *testing.T) {
	lost := lunDoc{Health: vds.HealthFailed, Status: vds.StatusFailed, Orphan: true}
	for want, doc := range map[summary]statusDocument{
		noDrives: {}, degraded: {Problems: []errorDoc{{}}}, failed: {LUNs: []lunDoc{lost}},
	} {
		if got := summarize(doc); got != want || got.exit() == nil {
			t.Errorf("%s with %v, want %s", got, got.exit(), want)
		}
	}
}
