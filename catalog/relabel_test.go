package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const otherHost = "host-2"

// of is the label of the drive of these tests, of a host.
func of(host string) Label {
	l := testLabel(1)
	l.Host = host
	return l
}

// TestRelabel expects the host to be another, in both labels, and every other byte of the drive to be as it was.
func TestRelabel(t *testing.T) {
	for _, host := range []string{otherHost, "", strings.Repeat("h", 64), testLabel(1).Host} {
		t.Run(host, func(t *testing.T) {
			m, d := history(t)
			before := m.clone()
			if err := d.Relabel(m, of(host)); err != nil {
				t.Fatal(err)
			}
			got := mustRead(t, m)
			if diff := cmp.Diff(d, got, cmp.AllowUnexported(Drive{})); diff != "" {
				t.Errorf("drive as kept (-) and as read (+):\n%s", diff)
			}
			want := testLabel(1)
			want.Host = host
			if diff := cmp.Diff(want, got.Label); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(testLUNs(3), got.Catalog.LUNs); diff != "" || len(got.Problems) > 0 {
				t.Errorf("problems %v, records (-want +got):\n%s", got.Problems, diff)
			}
			checkOnlyLabelsDiffer(t, before, m)
		})
	}
}

func checkOnlyLabelsDiffer(t *testing.T, before, now *media) {
	t.Helper()
	if len(before.blocks) != len(now.blocks) {
		t.Errorf("%d blocks in use, before %d", len(now.blocks), len(before.blocks))
	}
	for at, b := range now.blocks {
		if at != atHeadLabel && at != atTailLabel && !bytes.Equal(b, before.blocks[at]) {
			t.Errorf("block at %d has changed", at)
		}
	}
	if !bytes.Equal(now.blocks[atHeadLabel], now.blocks[atTailLabel]) {
		t.Error("the label and its copy differ")
	}
}

// TestRelabelDevice expects the label to say which device it was written to, and when.
func TestRelabelDevice(t *testing.T) {
	m, d := history(t)
	want := of(otherHost)
	want.Hardware, want.Created = "wwn:naa.5000c500;serial:X", testTime.Add(time.Hour)
	to := want
	to.Drive, to.Size = driveID(2), 2*testDriveSize // what a drive keeps for good
	if err := d.Relabel(m, to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, mustRead(t, m).Label); diff != "" {
		t.Errorf("label (-want +got):\n%s", diff)
	}
	to.Hardware = "two words"
	if err := d.Relabel(m, to); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v, want %v", err, ErrInvalid)
	}
}

// TestRelabelOrder expects the copy first, each write flushed before the next.
func TestRelabelOrder(t *testing.T) {
	m, d := history(t)
	if err := d.Relabel(m, of(otherHost)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range m.effects {
		if e.data == nil {
			got = append(got, "flush")
			continue
		}
		got = append(got, fmt.Sprint("write ", len(e.data), " at ", e.off))
	}
	want := []string{fmt.Sprint("write 4096 at ", atTailLabel), "flush", fmt.Sprint("write 4096 at ", atHeadLabel), "flush"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// TestRelabelCut cuts the power after every effect of Relabel: the drive can be used, all its records are there, and its
// host is the old one or the new one. Once more, and nothing of the cut is left.
func TestRelabelCut(t *testing.T) {
	start, d := history(t)
	m := start.clone()
	if err := d.Relabel(m, of(otherHost)); err != nil {
		t.Fatal(err)
	}
	forEachCut(start, m.effects, func(at string, cut *media) {
		got := mustRead(t, cut)
		if got.HeadLost || len(got.Catalog.LUNs) != 3 || !slices.Contains([]string{"host-1", otherHost}, got.Label.Host) {
			t.Errorf("%s: host %q, head lost %t, %d records", at, got.Label.Host, got.HeadLost, len(got.Catalog.LUNs))
		}
		if err := got.Relabel(cut, of(otherHost)); err != nil {
			t.Errorf("%s: again: %v", at, err)
		}
		again := mustRead(t, cut)
		if again.Label.Host != otherHost || len(again.Problems) > 0 || len(again.Catalog.LUNs) != 3 {
			t.Errorf("%s: again: host %q, %v", at, again.Label.Host, again.Problems)
		}
	})
}

// TestRelabelSpoilt has the write that the power cut hits spoil its whole block: the other label is whole.
func TestRelabelSpoilt(t *testing.T) {
	tests := map[string]struct {
		at      int64
		effects int // that are done by then
		host    string
		problem string
	}{
		"copy spoilt":  {atTailLabel, 0, "host-1", "copy of the label: checksum"},
		"label spoilt": {atHeadLabel, 2, otherHost, "label at the start of the drive is lost: checksum"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start, d := history(t)
			m := start.clone()
			if err := d.Relabel(m, of(otherHost)); err != nil {
				t.Fatal(err)
			}
			spoilt := after(start, m.effects, tt.effects, cutKept)
			spoilt.store(tt.at, bytes.Repeat([]byte("PLEXLABL\x01\x00\x00\x00????"), blockSize/16))
			got := mustRead(t, spoilt)
			if got.Label.Host != tt.host || len(got.Catalog.LUNs) != 3 {
				t.Errorf("host %q with %d records, want %q", got.Label.Host, len(got.Catalog.LUNs), tt.host)
			}
			checkProblems(t, got.Problems, []string{tt.problem})
			checkMended(t, spoilt, got)
		})
	}
}

// TestRelabelDiffer reads a drive between the two writes: it is of the old host, and the copy is no damage that stops it.
func TestRelabelDiffer(t *testing.T) {
	start, d := history(t)
	m := start.clone()
	if err := d.Relabel(m, of(otherHost)); err != nil {
		t.Fatal(err)
	}
	got := mustRead(t, after(start, m.effects, 2, cutKept))
	if got.Label.Host != "host-1" {
		t.Errorf("host %q", got.Label.Host)
	}
	checkProblems(t, got.Problems, []string{"copy of the label: differs from the label: invalid"})
}

func TestRelabelFails(t *testing.T) {
	for at := 1; at <= 8; at++ {
		sloppy, at := at > 4, (at-1)%4+1
		t.Run(fmt.Sprintf("effect %d, done all the same %t", at, sloppy), func(t *testing.T) {
			m, d := history(t)
			m.calls, m.fail, m.sloppy = 0, failAt(at), sloppy
			if err := d.Relabel(m, of(otherHost)); !errors.Is(err, errMedia) || !strings.Contains(err.Error(), driveID(1).String()) {
				t.Fatalf("error %v, want %v with the drive", err, errMedia)
			}
			if d.Label.Host != "host-1" {
				t.Errorf("the drive as kept is of %q after an error", d.Label.Host)
			}
			m.fail = nil
			if got := mustRead(t, m); got.HeadLost || len(got.Catalog.LUNs) != 3 {
				t.Errorf("after the failure: head lost %t, %d records", got.HeadLost, len(got.Catalog.LUNs))
			}
			if err := d.Relabel(m, of(otherHost)); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, m); got.Label.Host != otherHost || len(got.Problems) > 0 {
				t.Errorf("after another try: host %q, %v", got.Label.Host, got.Problems)
			}
		})
	}
}

func TestRelabelRefuses(t *testing.T) {
	tests := map[string]struct {
		host   string
		change func(*Drive)
		want   error
	}{
		"host too long":       {host: strings.Repeat("h", 65), want: ErrInvalid},
		"host with a space":   {host: "a b", want: ErrInvalid},
		"host with a newline": {host: "a\n", want: ErrInvalid},
		"head lost":           {host: otherHost, change: func(d *Drive) { d.HeadLost = true }, want: ErrHeadLost},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, d := history(t)
			if tt.change != nil {
				tt.change(&d)
			}
			m.calls = 0
			if err := d.Relabel(m, of(tt.host)); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if m.calls != 0 || d.Label.Host != "host-1" {
				t.Errorf("%d effects on the device, host %q", m.calls, d.Label.Host)
			}
		})
	}
}
