package lun_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// waitingKernel makes or removes a LUN's device only after a call for another one has come, or after patience.
type waitingKernel struct {
	*dmtest.Kernel
	mu     sync.Mutex
	inside int
	met    int // how often two calls overlapped
	more   *sync.Cond
	broken string // cannot be made
}

const patience = 50 * time.Millisecond

var errBroken = errors.New("cannot be made")

func (k *waitingKernel) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	if name == k.broken {
		return devno.No{}, errBroken
	}
	k.meet(name)
	return k.Kernel.Create(ctx, name, uuid)
}

func (k *waitingKernel) Remove(ctx context.Context, name string) error {
	k.meet(name)
	return k.Kernel.Remove(ctx, name)
}

func (k *waitingKernel) meet(name string) {
	if strings.Contains(name, ":") {
		return // a private device
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inside++
	if k.inside > 1 {
		k.met++
		k.more.Broadcast()
	} else {
		timer := time.AfterFunc(patience, k.more.Broadcast)
		k.more.Wait()
		timer.Stop()
	}
	k.inside--
}

// crowd is a machine with LUNs of all kinds: four with one plex, a mirror, a tracked one, and one under a copy.
func crowd(t *testing.T) (*world, *waitingKernel) {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 4)
	w.mem.SetOffload(w.path(2), true)
	for i := range 4 {
		w.create(fmt.Sprintf("plain%d", i), lunSize/6, 3)
	}
	w.attach("mirror", 0, 1)
	w.finishAll()
	w.track = true
	w.create("tracked", lunSize/6, 2)
	w.track = false
	w.attach("copied", 0, 2)
	kernel := &waitingKernel{Kernel: w.kernel}
	kernel.more = sync.NewCond(&kernel.mu)
	p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	t.Cleanup(p.Close)
	w.p = p
	return w, kernel
}

// attach makes a LUN on one drive and adds a plex on another.
func (w *world) attach(name string, from, to int) {
	w.t.Helper()
	target := w.create(name, lunSize/6, from)
	source := w.create(name+"-source", lunSize/6, to)
	if _, err := target.AddPlex(w.t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// all is the results of a command on all LUNs. All must succeed, except the one for the LUN that is broken.
func (w *world) all(results []lun.Result, err error) {
	w.t.Helper()
	w.must(err)
	if len(results) != 7 {
		w.t.Errorf("%d results, want one for each of 7 LUNs", len(results))
	}
	for _, r := range results {
		if r.Err != nil {
			w.t.Errorf("%s: %v", r.Name, r.Err)
		}
	}
}

// LUNs of all kinds are started and taken down several at a time.
func TestManyAtOnce(t *testing.T) {
	w, kernel := crowd(t)
	before := w.devices()
	w.all(w.p.Deactivate(t.Context()))
	if left := w.devices(); len(left) > 0 {
		t.Errorf("deactivated, and there are %v", left)
	}
	if kernel.met == 0 {
		t.Error("one LUN was taken down after the other")
	}
	kernel.met = 0
	w.all(w.p.Assemble(t.Context(), lun.AssembleOptions{}))
	if kernel.met == 0 {
		t.Error("one LUN was started after the other")
	}
	after := w.devices()
	for name, was := range before {
		if info := after[name]; info.UUID != was.UUID || !info.Live || info.Suspended {
			t.Errorf("%s: was %+v, is %+v", name, was, info)
		}
	}
	if len(after) != len(before) {
		t.Errorf("there were %d devices, and are %d", len(before), len(after))
	}
	w.all(w.p.Assemble(t.Context(), lun.AssembleOptions{}))
	w.settle()
}

// A LUN that cannot be started does not stop the others. It stays unchanged: the next start succeeds.
func TestOneOfManyCannotBeStarted(t *testing.T) {
	w, kernel := crowd(t)
	w.all(w.p.Deactivate(t.Context()))
	for _, broken := range []string{"plain2", "tracked", "mirror", "copied"} {
		kernel.broken = "plex-" + broken
		results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
		w.must(err)
		for _, r := range results {
			if failed := r.Name == broken; failed != errors.Is(r.Err, errBroken) || !failed && r.Err != nil {
				t.Errorf("%s cannot be made, and of %s it says: %v", broken, r.Name, r.Err)
			}
		}
		for name := range w.devices() {
			if strings.HasPrefix(name, kernel.broken) {
				t.Errorf("%s was not started, and there is %s", broken, name)
			}
		}
		kernel.broken = ""
		w.all(w.p.Assemble(t.Context(), lun.AssembleOptions{}))
		w.all(w.p.Deactivate(t.Context()))
	}
	w.all(w.p.Assemble(t.Context(), lun.AssembleOptions{}))
	w.settle()
}

// A LUN that is named twice is one.
func TestNamedTwice(t *testing.T) {
	w, _ := crowd(t)
	id := w.record("plain1").ID.String()
	for name, command := range map[string]func(refs ...string) ([]lun.Result, error){
		"deactivate": func(refs ...string) ([]lun.Result, error) { return w.p.Deactivate(t.Context(), refs...) },
		"assemble": func(refs ...string) ([]lun.Result, error) {
			return w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: refs})
		},
	} {
		results, err := command("plain1", "mirror", id)
		w.must(err)
		if len(results) != 2 || results[0].Err != nil || results[1].Err != nil {
			t.Errorf("%s: results %v, want one for plain1 and one for mirror", name, results)
		}
	}
	if _, err := w.p.Deactivate(t.Context(), "plain1", "nothing"); !errors.Is(err, vds.ErrObjectNotFound) {
		t.Errorf("got %v, want %v", err, vds.ErrObjectNotFound)
	}
}

// A record that is committed when one LUN starts is not undone when the next one starts.
func TestManyCommit(t *testing.T) {
	w := many(t, 8)
	for _, d := range w.p.Drives() {
		disk, err := w.mem.Open(t.Context(), d.Info.Path, blockdev.Write)
		w.must(err)
		store, err := catalog.ReadDrive(disk, d.Info.Size)
		w.must(err)
		for i := range store.Catalog.LUNs {
			store.Catalog.LUNs[i].Wipe = true
			store.Catalog.LUNs[i].Generation++
		}
		w.must(store.Write(disk, store.Catalog.LUNs))
		w.must(disk.Close())
	}
	w.restart()
	w.assemble()
	w.restart()
	for _, l := range w.p.LUNs() {
		if w.record(l.Name()).Wipe {
			t.Errorf("%s has been wiped, and its record does not know", l.Name())
		}
	}
}

// A LUN is not started while a device of another LUN writes to its extents, even when many are started at once.
func TestALUNIsNotStartedWhereAnotherWrites(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.create("web1", lunSize, 0)
	w.create("victim", lunSize, 0)
	w.create("third", lunSize, 0)
	if _, err := w.p.Deactivate(t.Context(), "victim", "third"); err != nil {
		t.Fatal(err)
	}
	w.replaceTable("plex-web1", w.record("victim").Plexes[0])
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{"victim", "third"}})
	w.must(err)
	if !errors.Is(results[0].Err, vds.ErrProviderCacheCorrupt) || results[1].Err != nil {
		t.Errorf("results %v, want %v for the first alone", results, vds.ErrProviderCacheCorrupt)
	}
}

// A request for no workers still does all of the work.
func TestNoWorkers(t *testing.T) {
	w := many(t, 4)
	p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock, Workers: -1})
	w.must(err)
	t.Cleanup(p.Close)
	_, err = p.Assemble(t.Context(), lun.AssembleOptions{})
	w.must(err)
	if devices := w.devices(); len(devices) != 4 {
		t.Errorf("there are %d devices, want 4", len(devices))
	}
}
