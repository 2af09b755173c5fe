package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBar(t *testing.T) {
	tests := []struct {
		name    string
		width   int
		percent int
		want    string
	}{
		{"begins", 40, 0, "\rweb1 [>               ] add-plex 0 of 1\x1b[K\n"},
		{"half", 40, 50, "\rweb1 [========>       ] add-plex 0 of 1\x1b[K\n"},
		{"at the end", 40, 100, "\rweb1 [================] add-plex 0 of 1\x1b[K\n"},
		{"no room for it", 30, 50, "\rweb1 add-plex 0 of 1\x1b[K\n"},
		{"no room for the text", 12, 50, "\rweb1 add-pl\x1b[K\n"},
		{"no room at all", 0, 50, "\r\x1b[K\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			b := &bar{w: &out, width: tt.width}
			b.close() // nothing is drawn yet
			b.draw("web1", tt.percent, "add-plex 0 of 1")
			b.close()
			b.close()
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
