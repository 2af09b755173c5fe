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
	tests := []struct {
		name     string
		luns     []lunDoc
		problems []errorDoc
		want     summary
		exit     error
	}{
		{"nothing", nil, nil, allHealthy, nil},
		{"healthy", []lunDoc{healthy}, nil, allHealthy, nil},
		{"not active", []lunDoc{healthy, l(vds.HealthHealthy, vds.StatusOffline)}, nil, allHealthy, nil},
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
			got := summarize(statusDocument{LUNs: tt.luns, Problems: tt.problems})
			if got != tt.want || !errors.Is(got.exit(), tt.exit) {
				t.Errorf("%s with %v, want %s with %v", got, got.exit(), tt.want, tt.exit)
			}
		})
	}
}
