package ops

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// SetRate limits how fast the running operation of a LUN copies. The operation does not start again.
func SetRate(rate size.Bytes) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		if l.Operation == nil {
			return l, record.LUNFault(vds.ErrInvalidOperation, "set rate of", l.Name, "no operation runs", "`plexctl op list` shows all")
		}
		kib, err := record.RateKiB(rate)
		if err != nil {
			return l, err
		}
		next := l
		next.MaxRate = kib
		return swapRate(ctx, s, l, next)
	}
}

// swapRate swaps in the table of next, which is l with another rate. The copy continues: the bits say what is left.
func swapRate(ctx context.Context, s *Session, l, next catalog.LUN) (catalog.LUN, error) {
	return swapTo(ctx, s, "set rate of", l, next, l.Name+" copies "+record.RateText(next))
}

// Dequeue begins l's operation if it need not wait any longer.
func Dequeue(ctx context.Context, s *Session, l catalog.LUN) error {
	if l.Operation == nil || !l.Operation.Queued || !MayBegin(ctx, s.Host, l) {
		return nil
	}
	_, err := swapRate(ctx, s, l, record.Dequeue(l))
	return err
}

// MayBegin reports whether a queued operation of l can begin: every other copy on its drives has ended. The next command that
// looks at such a copy records its end.
func MayBegin(ctx context.Context, h *host.Host, l catalog.LUN) bool {
	unfinished := slices.DeleteFunc(conflictingCopies(h, l), func(other catalog.LUN) bool {
		seen, known, err := ObserveOperation(ctx, h, other)
		return err == nil && known && slices.Contains([]resync.State{resync.Done, resync.Checking, resync.Failed}, seen.State)
	})
	return len(unfinished) == 0
}

// Behind is the names of the LUNs that l's queued operation waits for.
func Behind(h *host.Host, l catalog.LUN) []string {
	var names []string
	for _, other := range conflictingCopies(h, l) {
		names = append(names, other.Name)
	}
	return names
}

// conflictingCopies is the LUNs that l's operation has to wait for: they copy, and they share a drive with l.
func conflictingCopies(h *host.Host, l catalog.LUN) []catalog.LUN {
	var found []catalog.LUN
	drives := l.Drives()
	for _, other := range h.Set.LUNs {
		if op := other.Operation; other.ID != l.ID && op != nil && !op.Queued && len(op.Plexes) > 0 &&
			slices.ContainsFunc(other.Drives(), func(id uuid.UUID) bool { return slices.Contains(drives, id) }) {
			found = append(found, other)
		}
	}
	return found
}
