//go:build linux

package dm

import "testing"

func TestFaultOf(t *testing.T) {
	for release, want := range map[string]bool{
		"6.6.99": false, "6.7.0": true, "6.7.12-generic": true, "6.8.0-45-generic": true, "6.9.1": false, "6.12.48-amd64": false,
		"5.8.1": false, "7.8.0": false, "6": false, "": false, "generic": false,
	} {
		f, got := FaultOf(release)
		if got != want || got && (f.Text == "" || f.Link == "") {
			t.Errorf("%q: %+v, %v, want %v", release, f, got, want)
		}
	}
}
