package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Patience is how long a device may take to answer. After that it is silent: it costs itself and not the command.
//
// A silent device is like a drive whose label cannot be read. It is a problem that is reported, and no drive is known to be on it.
// A LUN that lacks a drive then follows the rules for a missing drive, which may come back at any time. So no record is dropped
// because of it, and no plex.
const Patience = 4 * time.Second

// Questions is what was asked of devices that have not answered, in all reads of a process. So a device is waited for once, and
// the next read of the host does not wait again. Several goroutines may use it.
type Questions struct {
	mu      sync.Mutex
	asked   map[devno.No]*question
	stalled map[devno.No]time.Time // since when a read could not end
}

// question is a read of the label and catalog of one device.
type question struct {
	since time.Time
	done  chan struct{} // closed when the device has answered
	store catalog.Drive
	err   error
}

// of returns the question that a device has not answered yet. If there is none it asks with read, and mine is true.
func (qs *Questions) of(dev devno.No, read func() (catalog.Drive, error)) (q *question, mine bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q, asked := qs.asked[dev]; asked {
		return q, false
	}
	q = &question{since: time.Now(), done: make(chan struct{})}
	if qs.asked == nil {
		qs.asked = map[devno.No]*question{}
	}
	qs.asked[dev] = q
	go func() {
		q.store, q.err = read()
		qs.mu.Lock()
		delete(qs.asked, dev)
		qs.mu.Unlock()
		close(q.done)
	}()
	return q, true
}

// stall notes that a read of a device could not end now, or could. It returns since when it could not.
func (qs *Questions) stall(dev devno.No, stalled bool) time.Time {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if !stalled {
		delete(qs.stalled, dev)
		return time.Time{}
	}
	if qs.stalled == nil {
		qs.stalled = map[devno.No]time.Time{}
	}
	if _, known := qs.stalled[dev]; !known {
		qs.stalled[dev] = time.Now()
	}
	return qs.stalled[dev]
}

// readStore reads the label and catalog of a device. It ends when Patience has, whether the device has answered or not; the read
// goes on. A late answer shows that the device is back. It may be old, so the device is asked anew.
func (h *Host) readStore(ctx context.Context, info blockdev.Info) (catalog.Drive, error) {
	if err := h.Silence(info.Dev); err != nil {
		return catalog.Drive{}, err
	}
	if err := h.leftOut(info); err != nil {
		return catalog.Drive{}, err
	}
	for {
		q, mine := h.Questions.of(info.Dev, func() (catalog.Drive, error) { return h.readNow(ctx, info) })
		timer := time.NewTimer(time.Until(q.since.Add(h.Patience)))
		defer timer.Stop()
		select {
		case <-q.done:
			if mine {
				return q.store, q.err
			}
		case <-timer.C:
			return catalog.Drive{}, silence(fmt.Sprintf("a read has not ended for %s", h.Patience))
		case <-ctx.Done():
			return catalog.Drive{}, ctx.Err()
		}
	}
}

// silence is the error about a device that does not answer.
func silence(why string) *vds.Error {
	return &vds.Error{
		Code: vds.ErrObjectStatusFailed, Err: fmt.Errorf("%w: %s", blockdev.ErrSilent, why),
		Hint: "see to the device; until it answers plexctl does without it",
	}
}

// Silent is a device that does not answer. It may be a drive.
type Silent struct {
	Info blockdev.Info
	Err  error // satisfies errors.Is with blockdev.ErrSilent

	under []dm.Device // devices of LUNs that the kernel has on it
}

// Silence is why a device did not answer when the host was read; nil when it did.
func (h *Host) Silence(dev devno.No) error {
	for i := range h.Silent {
		if h.Silent[i].Info.Dev == dev {
			return h.Silent[i].Err
		}
	}
	return nil
}

// leftOut is the error of a use of a device that is not to be read; nil for one that is.
func (h *Host) leftOut(info blockdev.Info) error {
	if h.LeaveOut == nil {
		return nil
	}
	err := h.LeaveOut(info)
	if err == nil {
		return nil
	}
	return &vds.Error{Code: vds.ErrInvalidOperation, Op: "use", Object: info.Path, Err: err, Hint: "change /etc/plexctl/plexctl.conf, or the flags of this command"}
}

// Stuck is the error of a change of l while the kernel uses a plex of it on a device that does not answer. A
// change would suspend l, or write its metadata, and the kernel would wait for that device. No signal ends such a wait. A plex that
// the kernel has dropped does not count.
func (h *Host) Stuck(ctx context.Context, op string, l catalog.LUN) error {
	for _, s := range h.Silent {
		for _, d := range s.under {
			if owner, _ := layout.OwnerOf(d.UUID); owner != l.ID {
				continue
			}
			name, err := h.DeviceName(ctx, l)
			if err != nil {
				return err
			}
			if p, ok := plexBelow(l, d.UUID); ok && h.dropped(ctx, name, l, p) {
				continue
			}
			return &vds.Error{
				Code: vds.ErrObjectStatusFailed, Op: op, Object: record.LUNObject(l.Name),
				Reason: "it is in use on " + s.Info.Path, Err: s.Err, Hint: "see to the device, and run `plexctl assemble` when it answers",
			}
		}
	}
	return nil
}

// dropped reports whether the kernel has dropped the leg of l that is this plex. name is that of l's device.
func (h *Host) dropped(ctx context.Context, name string, l catalog.LUN, p catalog.Plex) bool {
	status, err := h.Kernel.Status(ctx, name)
	if err != nil {
		return false
	}
	l = l.Before() // a plex of it that leaves is a leg until the swap
	raid, mirrored, err := raid1.Decode(l, status)
	return err == nil && mirrored && raid.Health[record.Index(l, p.ID)] == dm.LegFailed
}

// noteSilent notes that a device has not answered.
func (c *census) noteSilent(info blockdev.Info, err error) {
	c.failed[info.Dev] = err
	s := Silent{Info: info, Err: err}
	for _, holder := range info.Holders {
		if _, own := layout.OwnerOf(c.mapped[holder].UUID); own {
			s.under = append(s.under, c.mapped[holder])
		}
	}
	c.Silent = append(c.Silent, s)
}

// stallPause is the pause between two looks at a device that is suspended.
const stallPause = 50 * time.Millisecond

// await waits until a read of a device can end, for all that device-mapper says, and no longer than Patience. A device is suspended
// for a moment when its table is changed.
func (c *census) await(ctx context.Context, info blockdev.Info) error {
	why := c.stalls(ctx, info, func(i blockdev.Info) blockdev.Info { return i })
	for since := c.Questions.stall(info.Dev, why != ""); why != "" && time.Since(since) < c.Patience && ctx.Err() == nil; {
		time.Sleep(stallPause)
		why = c.stalls(ctx, info, func(i blockdev.Info) blockdev.Info {
			if now, err := c.Devices.Stat(ctx, i.Path); err == nil {
				return now
			}
			return i
		})
	}
	if why == "" {
		c.Questions.stall(info.Dev, false)
		return nil
	}
	return silence(why)
}

// stalls says why a read of a device cannot end now; it is empty when nothing is known. Look tells how a device is now.
func (c *census) stalls(ctx context.Context, info blockdev.Info, look func(blockdev.Info) blockdev.Info) string {
	for seen, i := []devno.No{info.Dev}, 0; i < len(seen); i++ {
		now, what := c.infos[seen[i]], "it"
		if now.Path == "" {
			continue // it is not known
		}
		if now = look(now); i > 0 {
			what = now.Path + " below it"
		}
		switch {
		case now.Suspended:
			return what + " is suspended"
		case c.queues(ctx, now):
			return what + " is a multipath device without a path, and queues"
		}
		for _, below := range now.Slaves {
			if !slices.Contains(seen, below) {
				seen = append(seen, below)
			}
		}
	}
	return ""
}

// queues reports whether a device is a multipath device that has no path left and keeps I/O until it has one.
func (c *census) queues(ctx context.Context, info blockdev.Info) bool {
	d, mapped := c.mapped[info.Dev]
	if !mapped || d.UUID != "" && !strings.HasPrefix(d.UUID, "mpath-") { // others make no multipath devices
		return false
	}
	table, err := c.Kernel.Table(ctx, d.Name)
	if err != nil || !slices.ContainsFunc(table, func(s dm.Segment) bool {
		return s.Target.Type() == "multipath" && slices.Contains(strings.Fields(s.Target.Params()), "queue_if_no_path")
	}) {
		return false
	}
	status, err := c.Kernel.Status(ctx, d.Name)
	return err == nil && slices.ContainsFunc(status.Targets, func(t dm.TargetStatus) bool { return t.Type == "multipath" && !hasPath(t.Line) })
}

// hasPath reports whether the status of a multipath target has an active path: "8:16 A 0" (drivers/md/dm-mpath.c,
// multipath_status).
func hasPath(line string) bool {
	words := strings.Fields(line)
	for i, word := range words[:max(0, len(words)-1)] {
		if _, err := devno.Parse(word); err == nil && words[i+1] == "A" {
			return true
		}
	}
	return false
}

// Beside names the devices that do not answer, one of which may be a missing drive. It is empty when all answer.
func (h *Host) Beside() string {
	var paths []string
	for i := range h.Silent {
		paths = append(paths, h.Silent[i].Info.Path)
	}
	return strings.Join(paths, ", ")
}
