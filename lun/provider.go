package lun

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// DefaultLockPath is the host's lock for changes. Two processes that change the same drives must use the same one.
const DefaultLockPath = "/run/plexctl/lock"

// Options configure a Provider. Kernel and Devices are required; the zero values of the others are right.
type Options struct {
	Kernel   Kernel
	Devices  Devices
	Logger   *slog.Logger     // where the Provider reports what it does; nil: nowhere
	LockPath string           // "": DefaultLockPath
	Hosts    []string         // ids of this host, the first to be written into labels; none: drives of other hosts pass for own
	Now      func() time.Time // for the times in records; nil: time.Now
	Workers  int              // how many drives are read, and LUNs are started or taken down, at the same time; less than 1: 16
	Guard    Guard            // nil: a LUN stays suspended when the process dies in a window, until the next Assemble

	// LockTimeout is how long a change waits for the host's lock, which another process may hold, before it ends with
	// vds.ErrAnotherCallInProgress. 0: as long as the context of the change lets it. Negative: not at all.
	LockTimeout time.Duration
}

// Provider knows the drives and LUNs of one host (IVdsHwProvider, IVdsSubSystem). What it hands out is as of the last
// Refresh or change; changes read the drives anew under the host's lock, so stale knowledge never leads to a wrong one.
type Provider struct {
	kernel      Kernel
	devices     Devices
	log         *slog.Logger
	lockPath    string
	lockTimeout time.Duration
	hosts       []string
	now         func() time.Time
	guard       Guard
	workers     int
	monitor     *resync.Monitor

	dry *recorder // not nil: changes are only planned

	mu      sync.Mutex
	current *machine
	dries   []*Provider // made by DryRun
}

// Open reads all drives and returns a Provider. It takes no lock and changes nothing. Close the Provider when done.
func Open(ctx context.Context, opts Options) (*Provider, error) {
	p := &Provider{
		kernel: opts.Kernel, devices: opts.Devices, log: opts.Logger,
		lockPath: opts.LockPath, hosts: opts.Hosts, now: opts.Now, guard: opts.Guard,
		workers: opts.Workers, lockTimeout: opts.LockTimeout,
	}
	if p.workers < 1 { // without one nothing would be done, and nobody told
		p.workers = 16
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.lockPath == "" {
		p.lockPath = DefaultLockPath
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.monitor = resync.NewMonitor(p.kernel, p.log)
	return p, p.Refresh(ctx)
}

// Close stops watching operations, which go on in the kernel. It does not close what Options handed in.
func (p *Provider) Close() {
	p.monitor.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, dry := range p.dries {
		dry.Close()
	}
}

// Refresh reads all drives anew.
func (p *Provider) Refresh(ctx context.Context) error {
	m, err := readMachine(ctx, p)
	if err != nil {
		return err
	}
	p.publish(m)
	return nil
}

// machine is the machine as last read.
func (p *Provider) machine() *machine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// Problems is everything that is wrong with drives and catalogs: unreadable ones, duplicates, conflicts.
func (p *Provider) Problems() []error {
	m := p.machine()
	problems := append([]error(nil), m.problems...)
	for _, problem := range m.set.Problems {
		problems = append(problems, problem)
	}
	return problems
}

// change runs f under the host's lock on a machine that is read anew, with catalogs healed. Once f is called it is not
// interrupted by the end of ctx: a change that has begun is carried out or taken back.
func (p *Provider) change(ctx context.Context, purpose string, f func(context.Context, *machine) error) error {
	wait, cancel := p.lockWait(ctx)
	defer cancel()
	return p.changeWithin(wait, ctx, purpose, f)
}

// lockWait is ctx until Options.LockTimeout is over, for the wait for the host's lock alone.
func (p *Provider) lockWait(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.lockTimeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, max(0, p.lockTimeout))
}

// changeSoon is change that hardly waits for whoever is changing anything: vds.ErrAnotherCallInProgress.
func (p *Provider) changeSoon(ctx context.Context, purpose string, f func(context.Context, *machine) error) error {
	brief, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	return p.changeWithin(brief, ctx, purpose, f)
}

// briefly is how long a look at an operation waits for the lock to record what it saw.
const briefly = 200 * time.Millisecond

// changeWithin is change that waits for the lock until the end of wait.
func (p *Provider) changeWithin(wait, ctx context.Context, purpose string, f func(context.Context, *machine) error) error {
	if p.dry != nil {
		m, err := readMachine(ctx, p)
		if err != nil {
			return err
		}
		return f(ctx, m)
	}
	lock, err := hostlock.Acquire(wait, p.lockPath, purpose)
	if err != nil {
		return lockFault(purpose, err)
	}
	defer lock.Unlock()
	m, err := readMachine(ctx, p)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := m.heal(ctx); err != nil {
		m.log.Warn("heal catalogs", "error", err)
	}
	err = f(ctx, m)
	if m.outdated || err != nil {
		return errors.Join(err, p.Refresh(ctx))
	}
	p.publish(m)
	return err
}

// publish makes m the machine that readers see. It must not be changed any more.
func (p *Provider) publish(m *machine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = m
}

func lockFault(purpose string, err error) error {
	if errors.Is(err, hostlock.ErrHeld) {
		return &vds.Error{
			Code: vds.ErrAnotherCallInProgress, Op: purpose, Reason: "another plexctl is changing this host's LUNs", Err: err,
			Hint: "wait for it to end and try again",
		}
	}
	return fault(purpose, "", err)
}

// find is the record that ref names: a name, a GUID, or a unique beginning of a GUID of at least 4 digits.
func (m *machine) find(ref string) (catalog.LUN, error) {
	var found []catalog.LUN
	for _, l := range m.set.LUNs {
		if l.Name == ref || l.ID.String() == strings.ToLower(ref) {
			found = append(found, l)
		}
	}
	if len(found) == 0 && len(ref) >= 4 {
		for _, l := range m.set.LUNs {
			if strings.HasPrefix(l.ID.String(), strings.ToLower(ref)) {
				found = append(found, l)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return catalog.LUN{}, &vds.Error{
			Code: vds.ErrObjectNotFound, Op: "find", Object: lunObject(ref), Reason: "no LUN has this name or GUID",
			Hint: "`plexctl lun list` shows all",
		}
	default:
		return catalog.LUN{}, &vds.Error{
			Code: vds.ErrInvalidArg, Op: "find", Object: lunObject(ref), Reason: "several LUNs match",
			Hint: "name it by its whole GUID",
		}
	}
}

// record is the record of a LUN by its id.
func (m *machine) record(id uuid.UUID) (catalog.LUN, bool) {
	return m.set.LUN(id)
}
