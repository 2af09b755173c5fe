package lun_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// silentDevices are drives some of which do not answer when their label is read.
type silentDevices struct {
	*blocktest.Mem
	mu    sync.Mutex
	until map[string]chan struct{} // closed when the device answers
	looks map[string]int
}

func (s *silentDevices) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	s.mu.Lock()
	s.looks[path]++
	until := s.until[path]
	s.mu.Unlock()
	if until != nil {
		<-until
	}
	return s.Mem.Open(ctx, path, mode)
}

// lookedAt is how often a device has been opened.
func (s *silentDevices) lookedAt(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks[path]
}

// silentWorld is a machine with three drives, the last of which does not answer until the function is called.
func silentWorld(t *testing.T, patience time.Duration) (*world, *silentDevices, func()) {
	w := newWorld(t, dmtest.Linux6_12, 3)
	w.create("web1", lunSize, 0)
	w.create("lost", lunSize, 2)
	if _, err := w.p.Deactivate(t.Context(), "lost"); err != nil {
		t.Fatal(err)
	}
	until := make(chan struct{})
	devices := &silentDevices{Mem: w.mem, until: map[string]chan struct{}{w.path(2): until}, looks: map[string]int{}}
	answer := sync.OnceFunc(func() { close(until) })
	t.Cleanup(answer)
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w.p = p
	return w, devices, answer
}

// silentProblem is the problem about a device that does not answer; nil when there is none.
func silentProblem(p *lun.Provider) error {
	for _, problem := range p.Problems() {
		if errors.Is(problem, blockdev.ErrSilent) {
			return problem
		}
	}
	return nil
}

// heard looks until every device has answered. A late answer arrives in a goroutine.
func heard(t *testing.T, p *lun.Provider) {
	t.Helper()
	for begin := time.Now(); silentProblem(p) != nil && time.Since(begin) < time.Minute; {
		if err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A device that does not answer costs itself. The others are read, and LUNs on them are changed. The device is waited for once.
func TestSilentDevice(t *testing.T) {
	const patience = 300 * time.Millisecond
	begin := time.Now()
	w, devices, answer := silentWorld(t, patience)
	problem := silentProblem(w.p)
	if problem == nil || !strings.Contains(problem.Error(), w.path(2)) || vds.CodeOf(problem) != vds.ErrObjectStatusFailed || vds.HintOf(problem) == "" {
		t.Errorf("problems %v, want one that names %s", w.p.Problems(), w.path(2))
	}
	if silent := w.p.Silent(); len(silent) != 1 || silent[0].Info.Path != w.path(2) || !errors.Is(silent[0].Err, blockdev.ErrSilent) {
		t.Errorf("silent devices %v", silent)
	}
	spare, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "spare3", Size: lunSize, Drives: []string{w.path(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handle(t, w.p, "web1").AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*patience {
		t.Errorf("a read and two changes took %v with a device that is waited for once, for %v", took, patience)
	}
	for _, err := range []error{
		w.p.CheckDrive(t.Context(), w.path(2), lun.InitOptions{Force: true}),
		second(w.p.Drive(w.path(2))), second(w.p.DriveAt(t.Context(), w.path(2))),
	} {
		if !errors.Is(err, vds.ErrObjectStatusFailed) || !strings.Contains(err.Error(), blockdev.ErrSilent.Error()) {
			t.Errorf("what names the device: %v, want %v", err, blockdev.ErrSilent)
		}
	}
	if looks := devices.lookedAt(w.path(2)); looks != 1 {
		t.Errorf("the device was opened %d times, want once", looks)
	}
	answer()
	heard(t, w.p)
	if _, err := w.p.LUN("lost"); err != nil || silentProblem(w.p) != nil || len(w.p.Silent()) != 0 {
		t.Errorf("after it has answered: %v, problems %v", err, w.p.Problems())
	}
}

// An answer that comes in time is used, however late.
func TestLateAnswer(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	until := make(chan struct{})
	time.AfterFunc(200*time.Millisecond, func() { close(until) })
	devices := &silentDevices{Mem: w.mem, until: map[string]chan struct{}{w.path(0): until}, looks: map[string]int{}}
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.Drives()) != 1 || len(p.Problems()) != 0 {
		t.Errorf("drives %v, problems %v", p.Drives(), p.Problems())
	}
}

// slowToClose is a disk that has been read and does not answer any more.
type slowToClose struct {
	blockdev.Disk
	asked, until chan struct{}
}

func (d slowToClose) Close() error {
	close(d.asked)
	<-d.until
	return d.Disk.Close()
}

// oldAnswers are devices whose answers arrive late, with what they had when they were asked.
type oldAnswers struct {
	*blocktest.Mem
	late  atomic.Bool
	asked chan struct{}
	until chan struct{}
}

func (o *oldAnswers) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	disk, err := o.Mem.Open(ctx, path, mode)
	if err != nil || mode != blockdev.Look || !o.late.Load() {
		return disk, err
	}
	return slowToClose{disk, o.asked, o.until}, nil
}

// A late answer to an earlier question may be old: somebody has changed the drive meanwhile. The device is asked anew.
func TestOldAnswer(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.create("web1", lunSize, 0)
	devices := &oldAnswers{Mem: w.mem, asked: make(chan struct{}), until: make(chan struct{})}
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	devices.late.Store(true)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Refresh(ctx) }()
	<-devices.asked // and read
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted read: %v", err)
	}
	if err := handle(t, w.p, "web1").Rename(t.Context(), "web2"); err != nil {
		t.Fatal(err)
	}
	devices.late.Store(false)
	go func() { ended <- p.Refresh(t.Context()) }()
	time.Sleep(50 * time.Millisecond) // it finds the question that has not been answered
	close(devices.until)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, err := p.LUN("web2"); err != nil {
		t.Error(err)
	}
}

// Many devices that do not answer hold up no other one for long.
func TestManySilentDevices(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	devices := &silentDevices{Mem: w.mem, until: map[string]chan struct{}{}, looks: map[string]int{}}
	for _, path := range []string{"/dev/aa", "/dev/ab", "/dev/ac", "/dev/ad", "/dev/ae"} {
		w.mem.AddDisk(blockdev.Info{Path: path, Size: driveSize})
		devices.until[path] = never
	}
	const patience = time.Second
	begin := time.Now()
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: patience, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if took := time.Since(begin); took > 3*patience {
		t.Errorf("took %v, with patience of %v for each device", took, patience)
	}
	if len(p.Drives()) != 1 || len(p.Silent()) != 5 {
		t.Errorf("drives %v, silent %v", p.Drives(), p.Silent())
	}
}

// An interrupt ends the wait for a device, and no device counts as silent because of it.
func TestInterruptedRead(t *testing.T) {
	w, _, _ := silentWorld(t, 50*time.Millisecond)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	devices := &silentDevices{Mem: w.mem, until: map[string]chan struct{}{w.path(1): never}, looks: map[string]int{}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lun.Open(ctx, lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open: %v, want %v", err, context.DeadlineExceeded)
	}
}

// A device that cannot answer now is not read: it, or one below it, is suspended. It is waited for, because a table may be changed
// just then.
func TestSuspendedDevice(t *testing.T) {
	for _, tt := range []struct {
		name, suspended string
		resumed         bool
		want            string
	}{
		{"itself", "/dev/dm-9", false, "it is suspended"},
		{"the one below", "/dev/dm-8", false, "/dev/dm-8 below it is suspended"},
		{"resumed in time", "/dev/dm-9", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 1)
			low := w.mem.AddDisk(blockdev.Info{Path: "/dev/dm-8", Size: driveSize})
			w.mem.AddDisk(blockdev.Info{Path: "/dev/dm-9", Size: driveSize})
			w.mem.Change("/dev/dm-9", func(i *blockdev.Info) { i.Slaves = append(i.Slaves, low) })
			w.mem.Change(tt.suspended, func(i *blockdev.Info) { i.Suspended = true })
			devices := &silentDevices{Mem: w.mem, looks: map[string]int{}}
			patience := 200 * time.Millisecond
			if tt.resumed {
				patience = time.Minute
				time.AfterFunc(200*time.Millisecond, func() {
					w.mem.Change(tt.suspended, func(i *blockdev.Info) { i.Suspended = false })
				})
			}
			p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			begin := time.Now()
			if err := p.Refresh(t.Context()); err != nil { // it has been waited for
				t.Fatal(err)
			}
			if took := time.Since(begin); took > patience/2 {
				t.Errorf("the second read took %v", took)
			}
			var got string
			for _, s := range p.Silent() {
				if s.Info.Path == "/dev/dm-9" {
					got = s.Err.Error()
				}
			}
			if !strings.Contains(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("silent: %q, want %q", got, tt.want)
			}
			if looks := devices.lookedAt("/dev/dm-9"); (looks > 0) != tt.resumed {
				t.Errorf("the device was opened %d times", looks)
			}
		})
	}
}

// A LUN in use on a device that does not answer is left as it is: the kernel would wait for the device. The others are not held up.
// A leg that the kernel has dropped holds up nothing.
func TestLegThatDoesNotAnswer(t *testing.T) {
	for _, dropped := range []bool{false, true} {
		t.Run(fmt.Sprintf("dropped %v", dropped), func(t *testing.T) {
			w, target, source := pair(t)
			if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.mem.AddDisk(blockdev.Info{Path: w.path(2), Size: driveSize})
			if _, err := w.p.InitDrive(t.Context(), w.path(2), lun.InitOptions{}); err != nil {
				t.Fatal(err)
			}
			w.create("other", lunSize, 2)
			if dropped {
				w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write"})
				w.write(3)
			}
			never := make(chan struct{})
			t.Cleanup(func() { close(never) })
			devices := &silentDevices{Mem: w.mem, until: map[string]chan struct{}{w.path(1): never}, looks: map[string]int{}}
			p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: devices, LockPath: w.lock, Patience: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			before := w.tables()
			check := func(what string, err error) {
				t.Helper()
				if stuck := errors.Is(err, blockdev.ErrSilent); stuck == dropped {
					t.Errorf("%s: %v", what, err)
				}
			}
			results, err := p.Assemble(t.Context(), lun.AssembleOptions{})
			if err != nil || len(results) != 2 {
				t.Fatalf("assemble: %v, %v", results, err)
			}
			for _, r := range results {
				if r.Name == "web1" {
					check("assemble", r.Err)
				} else if r.Err != nil {
					t.Errorf("assemble %s: %v", r.Name, r.Err)
				}
			}
			if diff := cmp.Diff(before, w.tables()); diff != "" && !dropped {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
			check("rename", handle(t, p, "web1").Rename(t.Context(), "web2"))
			if err := handle(t, p, "other").Rename(t.Context(), "another"); err != nil {
				t.Error(err)
			}
			results, err = p.Deactivate(t.Context())
			if err != nil || len(results) != 2 {
				t.Fatalf("deactivate: %v, %v", results, err)
			}
		})
	}
}

// second is the error of a call with a value and an error.
func second[T any](_ T, err error) error { return err }

// A LUN whose drive falls silent after the LUN was found is not called deleted.
func TestADriveFallsSilent(t *testing.T) {
	w, devices, answer := silentWorld(t, 300*time.Millisecond)
	answer()
	heard(t, w.p)
	found := w.find("lost")
	until := make(chan struct{})
	t.Cleanup(func() { close(until) })
	devices.mu.Lock()
	devices.until[w.path(2)] = until
	devices.mu.Unlock()
	err := found.Rename(t.Context(), "other")
	if vds.CodeOf(err) != vds.ErrObjectStatusFailed || !strings.Contains(fmt.Sprint(err), w.path(2)) || strings.Contains(fmt.Sprint(err), "deleted") {
		t.Errorf("rename: %v", err)
	}
}
