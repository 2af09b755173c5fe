package lun_test

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// steps is a log that keeps the steps that were executed.
type steps struct {
	slog.Handler
	mu    sync.Mutex
	taken []string
}

func (s *steps) Enabled(context.Context, slog.Level) bool { return true }

func (s *steps) Handle(_ context.Context, r slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Level == slog.LevelDebug && r.NumAttrs() == 2 {
		s.taken = append(s.taken, r.Message)
	}
	return nil
}

// logged is the world's process anew, with a log of its steps.
func (w *world) logged() *steps {
	w.t.Helper()
	w.p.Close()
	s := &steps{Handler: slog.DiscardHandler}
	p, err := lun.Open(w.t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock, Logger: slog.New(s), Workers: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	w.p = p
	return s
}

// on runs f with p in the place of the world's own process.
func (w *world) on(p *lun.Provider, f func(w *world) error) error {
	own := w.p
	w.p = p
	defer func() { w.p = own }()
	return f(w)
}

// A dry run has no effect, and its plan is the steps that the same call then carries out.
func TestDryRunPlansWhatIsDone(t *testing.T) {
	for _, s := range scenarios() {
		if strings.HasPrefix(s.name, "settle") {
			continue // the user does not ask for this change
		}
		if strings.Contains(s.name, "part of a scan") || strings.Contains(s.name, "scan in part") || strings.HasPrefix(s.name, "go on with a scan") {
			continue // they are slow, and their steps are those of other scenarios
		}
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, max(2, s.drives))
			if s.good != nil {
				s.good(w)
			}
			w.create("web1", lunSize, 0)
			w.create("spare3", lunSize, 1)
			s.prepare(w)
			log := w.logged()
			dry := w.p.DryRun()
			w.mem.OnEffect = func(e blocktest.Effect) error {
				t.Errorf("a dry run does: %s %s", e.Kind, e.Object)
				return nil
			}
			if err := w.on(dry, s.act); err != nil {
				t.Fatalf("dry run: %v", err)
			}
			w.mem.OnEffect = nil
			if len(log.taken) > 0 {
				t.Errorf("a dry run takes steps: %q", log.taken)
			}
			if err := s.act(w); err != nil {
				t.Fatal(err)
			}
			var planned []string
			for _, step := range dry.Plan() {
				planned = append(planned, newGUID.ReplaceAllString(step.Text, ":…:"))
			}
			for i, text := range log.taken {
				log.taken[i] = newGUID.ReplaceAllString(text, ":…:")
			}
			if diff := cmp.Diff(planned, log.taken); diff != "" || len(planned) == 0 {
				t.Errorf("steps (-planned +taken):\n%s", diff)
			}
		})
	}
}

// newGUID is the part of a device's name that differs between two runs of what makes a plex.
var newGUID = regexp.MustCompile(`:[0-9a-f]{8}:`)

// A dry run refuses the same calls with the same errors.
func TestDryRunRefuses(t *testing.T) {
	w, target, source := pair(t)
	small := w.create("small", size.MiB, 1)
	dry := w.p.DryRun()
	for name, act := range map[string]func(p *lun.Provider) error{
		"smaller": func(p *lun.Provider) error {
			_, err := handle(t, p, "web1").AddPlex(t.Context(), small.ID(), lun.AttachOptions{})
			return err
		},
		"itself": func(p *lun.Provider) error {
			_, err := handle(t, p, "web1").AddPlex(t.Context(), target.ID(), lun.AttachOptions{})
			return err
		},
		"the only plex": func(p *lun.Provider) error {
			_, err := handle(t, p, "spare3").RemovePlex(t.Context(), w.record("spare3").Plexes[0].ID)
			return err
		},
		"a name that is taken": func(p *lun.Provider) error { return handle(t, p, "spare3").Rename(t.Context(), "web1") },
	} {
		t.Run(name, func(t *testing.T) {
			planned, done := act(dry), act(w.p)
			if planned == nil || done == nil || planned.Error() != done.Error() {
				t.Errorf("dry run: %v\nreal run: %v", planned, done)
			}
		})
	}
	if plan := dry.Plan(); len(plan) > 0 {
		t.Errorf("a plan after refusals: %+v", plan)
	}
	if _, err := w.p.LUN(source.ID().String()); err != nil {
		t.Error(err)
	}
}

// The tables of a plan are those that dmsetup would show, with names where there are no devices yet.
func TestDryRunShowsTables(t *testing.T) {
	w, _, _ := pair(t)
	dry := w.p.DryRun()
	if err := w.on(dry, addPlex("web1", "spare3")); err != nil {
		t.Fatal(err)
	}
	one, two := w.record("web1").Plexes[0].ID.String()[:8], w.record("spare3").Plexes[0].ID.String()[:8]
	want := "0 12288 raid raid1 5 0 region_size 2048 max_recovery_rate 2097152 2 " +
		"plex-web1:" + one + ":meta-b plex-web1:" + one + ":data plex-web1:" + two + ":meta-b plex-web1:" + two + ":data"
	found := false
	for _, step := range dry.Plan() {
		found = found || step.Table == want && step.Undo != ""
	}
	if !found {
		t.Errorf("no step loads %q:\n%+v", want, dry.Plan())
	}
	if plan := w.p.Plan(); plan != nil {
		t.Errorf("a Provider that is not dry has a plan: %+v", plan)
	}
}
