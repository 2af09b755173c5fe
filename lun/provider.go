package lun

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/standby"
	"github.com/plexctl/plexctl/resync"
)

// DefaultLockPath is the host's lock for changes. Two processes that change the same drives must use the same one.
const DefaultLockPath = "/run/plexctl/lock"

// Kernel is the device-mapper that a Provider drives: *dm.Control on a real machine, *dmtest.Kernel in tests. Devices are
// addressed by name. Errors satisfy errors.Is with dm.ErrNotExist and dm.ErrBusy where they apply.
type Kernel = host.Kernel

// Devices finds and opens block devices: blockdev.Host on a real machine, *blocktest.Mem in tests.
type Devices = host.Devices

// Options configure a Provider. The zero value is right for a program that manages the LUNs of the machine that it runs on.
type Options struct {
	Kernel   Kernel           // nil: this machine's device-mapper, which Close closes
	Devices  Devices          // nil: this machine's block devices
	Logger   *slog.Logger     // where the Provider reports what it does; nil: nowhere
	LockPath string           // "": DefaultLockPath
	Hosts    []string         // ids of this host; plexctl writes the first into labels. None: those of this machine
	Now      func() time.Time // for the times in records; nil: time.Now
	Workers  int              // how many drives are read, and LUNs are started or taken down, at the same time; less than 1: 16
	Guard    Guard            // nil: StandBy

	Release   string // of the kernel, such as "6.12.48"; "": that of the running one
	AnyKernel bool   // plexes are added and recovered also on a kernel that is known to hurt mirrors; see dm.FaultOf

	// Patience is how long a device may take to answer; 0: 4 seconds. Then the Provider does without it, and names it in Problems.
	// A read that does not end goes on in a goroutine, and the process cannot end before it does. If that matters, let Devices
	// read in another process when it opens a device with blockdev.Look, as package apart does.
	Patience time.Duration

	// LeaveOut says why a device is not read, whatever is on it; nil for one that is. Without LeaveOut all are. A drive that is left
	// out counts as missing.
	LeaveOut func(blockdev.Info) error

	// LockTimeout is how long a change waits for the host's lock, which another process may hold. Then the change fails with
	// vds.ErrAnotherCallInProgress. 0: wait until the context of the change ends. Negative: do not wait.
	LockTimeout time.Duration
}

// Provider knows the drives and LUNs of one host (IVdsHwProvider, IVdsSubSystem). Its answers are as of the last Refresh or
// change. A change reads the drives anew under the host's lock, so old answers never lead to a wrong change.
type Provider struct {
	env     *ops.Env
	monitor *resync.Monitor
	control *dm.Control // Open has opened it; nil: Options had one

	mu      sync.Mutex
	current *host.Host
	dries   []*Provider // made by DryRun
}

// Open reads all drives and returns a Provider. It takes no lock and changes nothing. Close the Provider when done. Open fails in
// a program that has not called BeGuard, unless Options have another Guard.
func Open(ctx context.Context, opts Options) (*Provider, error) {
	control, err := opts.complete()
	if err != nil {
		return nil, err
	}
	env := &ops.Env{
		Options:  host.Options{Kernel: opts.Kernel, Devices: opts.Devices, Log: opts.Logger, IDs: opts.Hosts, Workers: opts.Workers, Release: opts.Release, AnyKernel: opts.AnyKernel, Patience: opts.Patience, LeaveOut: opts.LeaveOut, Questions: &host.Questions{}},
		LockPath: opts.LockPath, LockTimeout: opts.LockTimeout, Now: opts.Now, Guard: opts.Guard,
	}
	p := newProvider(env)
	p.control = control
	if err := p.Refresh(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// simulated is a kernel that no other process sees: no guard could resume its devices, and its machine is not this one.
type simulated interface{ Simulated() }

// complete gives options their default values. It returns the device-mapper that it has opened, or nil.
func (o *Options) complete() (control *dm.Control, err error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.LockPath = cmp.Or(o.LockPath, DefaultLockPath)
	if o.Workers < 1 { // without a worker nothing would be done, and no error would say so
		o.Workers = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Devices == nil {
		o.Devices = blockdev.Host{}
	}
	if _, ok := o.Kernel.(simulated); ok {
		return nil, nil
	}
	if o.Release == "" {
		var name unix.Utsname
		_ = unix.Uname(&name) // it cannot fail
		o.Release = unix.ByteSliceToString(name.Release[:])
	}
	if len(o.Hosts) == 0 {
		o.Hosts = blockdev.Host{}.IDs()
	}
	if o.Guard == nil {
		if err := standby.Prepared(); err != nil {
			return nil, err
		}
		o.Guard = StandBy
	}
	if o.Kernel == nil {
		if control, err = dm.Open(dm.Options{Logger: o.Logger}); err != nil {
			return nil, err
		}
		o.Kernel = control
	}
	return control, nil
}

func newProvider(env *ops.Env) *Provider {
	p := &Provider{env: env, monitor: resync.NewMonitor(env.Kernel, env.Log)}
	env.Publish = p.publish
	return p
}

// Close stops watching operations; the kernel continues them. A Wait for one returns resync.ErrClosed. Close does not close what
// Options handed in. Call it when no other call is running.
func (p *Provider) Close() {
	p.monitor.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, dry := range p.dries {
		dry.Close()
	}
	if p.control != nil {
		_ = p.control.Close() // nothing is buffered in it
	}
}

// Refresh reads all drives anew.
func (p *Provider) Refresh(ctx context.Context) error {
	h, err := host.Read(ctx, p.env.Options)
	if err != nil {
		return err
	}
	p.publish(h)
	return nil
}

// host is the host as last read.
func (p *Provider) host() *host.Host {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// publish makes h the host that readers see. The caller must not change h afterwards.
func (p *Provider) publish(h *host.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = h
}

// Problems is all faults of drives and catalogs: unreadable ones, duplicates, conflicts. Each has a code.
func (p *Provider) Problems() []error {
	h := p.host()
	var problems []error
	for _, problem := range h.Problems {
		problems = append(problems, fault.Of("", "", problem))
	}
	for _, problem := range h.Set.Problems {
		problems = append(problems, fault.Of("", "", problem))
	}
	return problems
}

// AssembleOptions say what Assemble may do.
type AssembleOptions struct {
	LUNs []string // names or GUIDs; empty: all
	// Force starts a mirror without a missing plex that may be newer than the plexes on this host. From then on the missing
	// plex is stale, and what only it holds is lost for good. Force needs LUNs to be named.
	Force bool
}

// Result is the outcome for one LUN: its ID, its Name, and Err, which is nil after a success.
type Result = ops.Result

// Assemble brings the kernel to the state in the catalogs, for every LUN. Call it at boot or after a crash; at any other time
// it changes nothing. The kernel copies the regions that may differ in a mirror that was not stopped cleanly. A running
// operation continues. One LUN's failure does not stop the others: it is in its Result. The error is about all LUNs (a drive
// scan, the lock).
func (p *Provider) Assemble(ctx context.Context, opts AssembleOptions) ([]Result, error) {
	return ops.Assemble(ctx, p.env, opts.LUNs, opts.Force)
}

// Deactivate takes LUNs down, all of them when none is named. Their devices go; their data and their operations stay. It leaves
// a LUN that is open as it is, with vds.ErrDeviceInUse in its Result. It marks a mirror clean whose plexes are in sync, so that
// the next Assemble copies nothing.
func (p *Provider) Deactivate(ctx context.Context, refs ...string) ([]Result, error) {
	return ops.Deactivate(ctx, p.env, refs)
}

// Reenumerate looks for drives anew and makes all catalogs agree. Then it brings the kernel's devices of every active LUN to
// the LUN's record. If an administrator has replaced a mirror's table by a table of one plex, that plex now holds the
// data, and the others are stale. Reenumerate is the first half of the cure for vds.ErrProviderCacheCorrupt
// (IVdsHwProvider::Reenumerate). Refresh, of every Provider that is open, is the second half.
func (p *Provider) Reenumerate(ctx context.Context) ([]Result, error) {
	return ops.Reenumerate(ctx, p.env)
}

// PlannedStep is one step of a change, as it is shown to a user: Text, Table, Undo, and Commit.
type PlannedStep = engine.PlannedStep

// DryRun is a Provider that carries no change out. It checks and plans what p would, and keeps the steps, which Plan returns.
// Methods that would return a handle on an operation or a LUN return nil. It sees the drives as p last read them or later,
// takes no lock, and is closed with p.
func (p *Provider) DryRun() *Provider {
	env := *p.env
	env.Guard, env.Dry = nil, engine.NewRecorder()
	dry := newProvider(&env)
	dry.current = p.host()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dries = append(p.dries, dry)
	return dry
}

// Plan is the steps of all changes that were asked of a DryRun Provider, in order.
func (p *Provider) Plan() []PlannedStep {
	if !p.isDry() {
		return nil
	}
	return p.env.Dry.Steps()
}

// isDry reports whether p carries no change out.
func (p *Provider) isDry() bool { return p.env.Dry != nil }
