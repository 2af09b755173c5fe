package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Fragile is a drive that a test makes misbehave: a device-mapper device over a loop device. It has to be made before the
// rig, so that LUNs are gone from it before it goes.
type Fragile struct {
	t       testing.TB
	control *dm.Control
	name    string
	Path    string
	loop    string
}

// NewFragile makes a drive that works.
func NewFragile(t testing.TB, name string) *Fragile {
	t.Helper()
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &Fragile{t: t, control: control, name: "lab-" + name, loop: NewLoop(t, SmallDrive, 512)}
	f.Path = NewMapping(t, name, dm.Table{f.segment(0, SmallDrive, "linear", "")})
	return f
}

// segment is a part of the drive behind a target.
func (f *Fragile) segment(start, length size.Bytes, target, args string) dm.Segment {
	if target != "error" {
		args = strings.TrimSpace(fmt.Sprintf("%s %d %s", f.loop, start.Sectors(), args))
	}
	return dm.Segment{Start: start.Sectors(), Length: length.Sectors(), Target: dm.Other{Name: target, Args: args}}
}

// behave gives the drive another table.
func (f *Fragile) behave(segments ...dm.Segment) {
	f.t.Helper()
	ctx := context.WithoutCancel(f.t.Context())
	err := f.control.Load(ctx, f.name, dm.Table(segments))
	if err == nil {
		err = f.control.Resume(ctx, f.name, dm.Public)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// Fail makes all I/O fail: for plexctl the drive is missing. The loop device stays claimed, else it would be the drive.
func (f *Fragile) Fail() { f.t.Helper(); f.behave(f.segment(0, SmallDrive, "flakey", "0 60")) }

// Mend makes everything work again, at full speed.
func (f *Fragile) Mend() { f.t.Helper(); f.behave(f.segment(0, SmallDrive, "linear", "")) }

// Slow makes every write take a time.
func (f *Fragile) Slow(delay time.Duration) {
	f.t.Helper()
	f.behave(f.segment(0, SmallDrive, "delay", fmt.Sprintf("0 %s 0 %d", f.loop, delay.Milliseconds())))
}

// Unwritable makes writes to a part of the drive fail.
func (f *Fragile) Unwritable(start, length size.Bytes) {
	f.t.Helper()
	f.spoil(start, length, "flakey", "0 60 1 error_writes")
}

// Unreadable makes all I/O to a part of the drive fail.
func (f *Fragile) Unreadable(start, length size.Bytes) {
	f.t.Helper()
	f.spoil(start, length, "error", "")
}

func (f *Fragile) spoil(start, length size.Bytes, target, args string) {
	f.t.Helper()
	segments := []dm.Segment{f.segment(start, length, target, args)}
	if start > 0 {
		segments = append([]dm.Segment{f.segment(0, start, "linear", "")}, segments...)
	}
	f.behave(append(segments, f.segment(start+length, SmallDrive-start-length, "linear", ""))...)
}
