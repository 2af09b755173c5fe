package dmtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Sizes of the devices that are not arrays.
const (
	mib     = int64(size.MiB)
	sectMiB = size.Sectors(size.MiB / size.Sector)
)

func (b *bench) testNames() {
	name := b.create()
	info := b.info(name)
	b.same("uuid", "CONTRACT-"+name, info.UUID)
	_, err := b.k.Create(b.ctx, name, "")
	b.wants("create with a taken name", err, dm.ErrBusy)
	_, err = b.k.Create(b.ctx, b.lab.Name(), info.UUID)
	b.wants("create with a taken uuid", err, dm.ErrBusy)
	for _, bad := range []string{"", "control", ".", "..", "a/b", "a b", "ä", strings.Repeat("x", 128)} {
		if _, err := b.k.Create(b.ctx, bad, ""); err == nil {
			b.Errorf("created a device called %q", bad)
		}
	}
	for _, bad := range []string{"a b", strings.Repeat("x", 129)} {
		if _, err := b.k.Create(b.ctx, b.lab.Name(), bad); err == nil {
			b.Errorf("created a device with uuid %q", bad)
		}
	}
	list, err := b.k.List(b.ctx)
	b.must(err)
	i := slices.IndexFunc(list, func(d dm.Device) bool { return d.Name == name })
	if i < 0 {
		b.Fatalf("%s is not in the list", name)
	}
	b.same("number and uuid in the list", dm.Device{Name: name, UUID: info.UUID, Dev: info.Dev}, dm.Device{
		Name: list[i].Name, UUID: list[i].UUID, Dev: list[i].Dev,
	})
}

func (b *bench) testNoDevice() {
	name := b.lab.Name()
	disk := b.lab.Disk(b, size.MiB)
	_, info := b.k.Info(b.ctx, name)
	_, table := b.k.Table(b.ctx, name)
	_, waiting := b.k.Waiting(b.ctx, name)
	_, status := b.k.Status(b.ctx, name)
	_, message := b.k.Message(b.ctx, name, 0, "check")
	for what, err := range map[string]error{
		"info": info, "table": table, "waiting": waiting, "status": status, "message": message,
		"load":    b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, 8)),
		"clear":   b.k.Clear(b.ctx, name),
		"suspend": b.k.Suspend(b.ctx, name, false),
		"resume":  b.k.Resume(b.ctx, name, dm.Private),
		"remove":  b.k.Remove(b.ctx, name),
		"rename":  b.k.Rename(b.ctx, name, b.lab.Name(), dm.Private),
	} {
		b.wants(what, err, dm.ErrNotExist)
	}
}

func (b *bench) testLife() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.create()
	state := func(what string, suspended, live, inactive bool) {
		b.Helper()
		info := b.info(name)
		want := dm.Info{Device: info.Device, Suspended: suspended, Live: live, Inactive: inactive}
		b.same("state after "+what, want, info)
	}
	state("create", false, false, false)
	table, err := b.k.Table(b.ctx, name)
	b.must(err)
	b.same("table after create", 0, len(table))
	b.must(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, sectMiB)))
	state("load", false, false, true)
	status, err := b.k.Status(b.ctx, name)
	b.must(err)
	b.same("lines of status after load", 0, len(status.Targets))
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	state("resume", false, true, false)
	b.must(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 8, 8)))
	b.must(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, sectMiB)))
	state("two loads", false, true, true)
	b.must(b.k.Suspend(b.ctx, name, false))
	b.must(b.k.Suspend(b.ctx, name, false))
	state("two suspends", true, true, true)
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	state("two resumes", false, true, false)
	b.must(b.k.Suspend(b.ctx, name, true))
	b.must(b.k.Suspend(b.ctx, name, false))
	state("suspend with a freeze", true, true, false)
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	b.must(b.k.Remove(b.ctx, name))
	_, err = b.k.Info(b.ctx, name)
	b.wants("info after remove", err, dm.ErrNotExist)
}

func (b *bench) testResumeEmpty() {
	name := b.create()
	err := b.k.Resume(b.ctx, name, dm.Private)
	b.Logf("resume without a table: %v", err)
	b.must(b.k.Suspend(b.ctx, name, false))
	b.wants("resume of a suspended device without a table", b.k.Resume(b.ctx, name, dm.Private), unix.EINVAL)
}

func (b *bench) testRefusedTables() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.create()
	own := b.info(name).Dev
	free := devno.No{Major: own.Major, Minor: 1 << 18}
	tests := []struct {
		name  string
		table dm.Table
		want  error
	}{
		{"no such device", linearOn(free, 0, 8), unix.ENXIO},
		{"beyond the end", linearOn(disk.Dev(), 8, sectMiB), unix.EINVAL},
		{"gap", dm.Table{
			{Length: 8, Target: dm.Linear{Dev: disk.Dev()}},
			{Start: 16, Length: 8, Target: dm.Linear{Dev: disk.Dev()}},
		}, unix.EINVAL},
		{"empty segment", linearOn(disk.Dev(), 0, 0), unix.EINVAL},
		{"unknown target", dm.Table{{Length: 8, Target: dm.Other{Name: "no-such-target"}}}, unix.EINVAL},
		{"linear without arguments", dm.Table{{Length: 8, Target: dm.Other{Name: "linear"}}}, unix.EINVAL},
		{"linear at no number", dm.Table{{Length: 8, Target: dm.Other{Name: "linear", Args: disk.Dev().String() + " x"}}}, unix.EINVAL},
	}
	for _, tt := range tests {
		err := b.k.Load(b.ctx, name, tt.table)
		b.wants(tt.name, err, tt.want)
		if errors.Is(err, dm.ErrNotExist) || errors.Is(err, dm.ErrBusy) {
			b.Errorf("%s: %v passes for an error about the device itself", tt.name, err)
		}
		b.same(tt.name+": inactive table", false, b.info(name).Inactive)
	}
	for what, table := range map[string]dm.Table{"the device itself": linearOn(own, 0, 8), "nothing": nil} {
		if err := b.k.Load(b.ctx, name, table); err == nil || errors.Is(err, dm.ErrNotExist) {
			b.Errorf("a table of %s: %v, want an error about the table", what, err)
		}
	}
}

// testSwapRefused is about what the kernel checks at the first load of a device, and later only at the swap. There it leaves
// the device suspended, with the old table.
func (b *bench) testSwapRefused() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.device(linearOn(disk.Dev(), 0, sectMiB))
	b.must(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 8, sectMiB)))
	b.wants("swap to a table beyond the end", b.k.Resume(b.ctx, name, dm.Private), unix.EINVAL)
	info := b.info(name)
	b.same("suspended, live, inactive", []bool{true, true, false}, []bool{info.Suspended, info.Live, info.Inactive})
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	table, err := b.k.Table(b.ctx, name)
	b.must(err)
	b.same("live table", linearOn(disk.Dev(), 0, sectMiB), table)
}

func (b *bench) testClaimed() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.create()
	release := disk.Hold(b)
	b.wants("load onto a claimed drive", b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, 8)), dm.ErrBusy)
	release()
	b.must(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, 8)))
	other := b.device(linearOn(disk.Dev(), 0, 8))
	b.same("openers of a device nobody uses", 0, b.info(other).OpenCount)
}

func (b *bench) testSwap() {
	first, second := b.lab.Disk(b, size.MiB), b.lab.Disk(b, size.MiB)
	b.fill(first, 'A', 0, mib)
	b.fill(second, 'B', 0, mib)
	name := b.device(linearOn(first.Dev(), 0, sectMiB))
	file := b.lab.Open(b, name)
	b.same("openers", 1, b.info(name).OpenCount)
	b.same("content before", "AAAA", b.letters(file, 4, mib/4))
	b.must(b.k.Load(b.ctx, name, linearOn(second.Dev(), 0, sectMiB)))
	b.same("content with the other table loaded", "AAAA", b.letters(file, 4, mib/4))
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	b.same("content after", "BBBB", b.letters(file, 4, mib/4))
	b.fill(file, 'C', mib/4, mib/4)
	b.same("first drive", "AAAA", b.letters(first, 4, mib/4))
	b.same("second drive", "BCBB", b.letters(second, 4, mib/4))
	b.swap(name, dm.Table{
		{Length: sectMiB / 2, Target: dm.Linear{Dev: second.Dev()}},
		{Start: sectMiB / 2, Length: sectMiB / 2, Target: dm.Linear{Dev: first.Dev(), Offset: sectMiB / 4}},
	})
	b.same("content of two segments", "BCAA", b.letters(file, 4, mib/4))
	b.fill(file, 'D', mib/4, mib/2)
	b.same("content after a write across both", "BDDA", b.letters(file, 4, mib/4))
	b.same("first drive after that", "ADAA", b.letters(first, 4, mib/4))
}

func (b *bench) testSizeChange() {
	disk := b.lab.Disk(b, size.MiB)
	b.fill(disk, 'A', 0, mib)
	name := b.device(linearOn(disk.Dev(), 0, sectMiB))
	file := b.lab.Open(b, name)
	b.swap(name, linearOn(disk.Dev(), 0, sectMiB/2))
	if _, err := file.ReadAt(make([]byte, 4096), mib/2); err == nil {
		b.Error("read beyond the end of a shrunk device")
	}
	b.swap(name, linearOn(disk.Dev(), 0, sectMiB))
	b.same("content after growing back", "AAAA", b.letters(file, 4, mib/4))
}

func (b *bench) testClear() {
	disk := b.lab.Disk(b, size.MiB)
	whole, part := linearOn(disk.Dev(), 0, sectMiB), linearOn(disk.Dev(), 8, 8)
	name := b.create()
	slots := func(what string, live, waiting dm.Table) {
		b.Helper()
		got, err := b.k.Table(b.ctx, name)
		b.must(err)
		b.same("live table, "+what, live, got)
		got, err = b.k.Waiting(b.ctx, name)
		b.must(err)
		b.same("waiting table, "+what, waiting, got)
	}
	slots("new", nil, nil)
	b.must(b.k.Load(b.ctx, name, whole))
	slots("loaded", nil, whole)
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	slots("resumed", whole, nil)
	b.must(b.k.Clear(b.ctx, name))
	slots("nothing to clear", whole, nil)
	b.must(b.k.Load(b.ctx, name, part))
	slots("second loaded", whole, part)
	b.must(b.k.Suspend(b.ctx, name, false))
	slots("suspended", whole, part)
	b.must(b.k.Clear(b.ctx, name))
	slots("cleared", whole, nil)
	b.same("inactive table", false, b.info(name).Inactive)
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	slots("resumed again", whole, nil)
}

func (b *bench) testSuspend() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.device(linearOn(disk.Dev(), 0, sectMiB))
	file := b.lab.Open(b, name)
	b.must(b.k.Suspend(b.ctx, name, false))
	written := b.blockedWrite(file, make([]byte, 4096), 0)
	b.must(b.k.Resume(b.ctx, name, dm.Private))
	written()
}

// blockedWrite begins a write to a suspended device, which must wait. The function that it returns waits for the end of the write,
// after a resume.
func (b *bench) blockedWrite(file File, data []byte, off int64) (written func()) {
	b.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := file.WriteAt(data, off)
		ended <- err
	}()
	b.rest()
	select {
	case err := <-ended:
		b.Errorf("write to a suspended device returned: %v", err)
	default:
	}
	return func() {
		b.Helper()
		select {
		case err := <-ended:
			b.wants("write after resume", err, nil)
		case <-time.After(timeLimit):
			b.Fatal("write after resume: still waiting")
		}
	}
}

func (b *bench) testRemoveOpen() {
	disk := b.lab.Disk(b, size.MiB)
	name := b.device(linearOn(disk.Dev(), 0, sectMiB))
	file := b.lab.Open(b, name)
	b.wants("remove of an open device", b.k.Remove(b.ctx, name), dm.ErrBusy)
	b.must(file.Close())
	b.must(b.k.Remove(b.ctx, name))
}

func (b *bench) testStacked() {
	disk := b.lab.Disk(b, size.MiB)
	lower := b.device(linearOn(disk.Dev(), 0, sectMiB))
	dev := b.info(lower).Dev
	upper := b.device(linearOn(dev, 0, sectMiB/2))
	b.same("openers of the lower device", 1, b.info(lower).OpenCount)
	b.wants("remove of the lower device", b.k.Remove(b.ctx, lower), dm.ErrBusy)
	b.must(b.k.Load(b.ctx, upper, linearOn(dev, 0, sectMiB/2)))
	b.same("openers with a second table", 1, b.info(lower).OpenCount)
	b.must(b.k.Resume(b.ctx, upper, dm.Private))
	b.same("openers after the swap", 1, b.info(lower).OpenCount)
	b.must(b.k.Remove(b.ctx, upper))
	b.same("openers after all", 0, b.info(lower).OpenCount)
}

func (b *bench) testRename() {
	name, taken, other := b.create(), b.create(), b.lab.Name()
	dev := b.info(name).Dev
	b.wants("rename to a taken name", b.k.Rename(b.ctx, name, taken, dm.Private), dm.ErrBusy)
	if err := b.k.Rename(b.ctx, name, "a/b", dm.Private); err == nil {
		b.Error("renamed to a/b")
	}
	b.must(b.k.Rename(b.ctx, name, other, dm.Private))
	b.same("number", dev, b.info(other).Dev)
	_, err := b.k.Info(b.ctx, name)
	b.wants("info by the old name", err, dm.ErrNotExist)
	b.must(b.k.Rename(b.ctx, other, name, dm.Private))
}

func (b *bench) testEvents() {
	disk := b.lab.Disk(b, size.MiB)
	name := ""
	tests := []struct {
		what string
		do   func() error
	}{
		{"create", func() error { name = b.create(); return nil }},
		{"first swap", func() error {
			return errors.Join(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 0, 8)), b.k.Resume(b.ctx, name, dm.Private))
		}},
		{"second swap", func() error {
			return errors.Join(b.k.Load(b.ctx, name, linearOn(disk.Dev(), 8, 8)), b.k.Resume(b.ctx, name, dm.Private))
		}},
		{"remove", func() error { return b.k.Remove(b.ctx, name) }},
	}
	for _, tt := range tests {
		b.quiet()
		b.must(tt.do())
		ctx, cancel := context.WithTimeout(b.ctx, timeLimit)
		b.wants("event of "+tt.what, b.k.WaitEvent(ctx), nil)
		cancel()
	}
}

// quiet takes all events that are there.
func (b *bench) quiet() {
	b.Helper()
	for {
		ctx, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
		err := b.k.WaitEvent(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		b.must(err)
	}
}
