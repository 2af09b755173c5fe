package codes

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// plexRefusals is what speaks against RemovePlex and Split.
func plexRefusals() provocations {
	return provocations{
		vds.ErrObjectNotFound: {
			"plex_unknown": shared(plexUnknown), "plex_of_another_lun": shared(plexOfAnother), "plex_is_a_lun": shared(plexIsALUN),
		},
		vds.ErrInvalidArg:            {"plex_ambiguous": own(plexAmbiguous), "split": shared(splitName)},
		vds.ErrNameNotUnique:         {"split": shared(splitTaken)},
		vds.ErrInvalidOperation:      {"only_plex": shared(onlyPlex)},
		vds.ErrPlexLastActive:        {"remove_plex": shared(lastActive)},
		vds.ErrAnotherCallInProgress: {"remove_plex": shared(removeBusy)},
		vds.ErrObjectStatusFailed:    {"remove_plex_inactive": shared(removeInactive), "split": shared(splitFailed)},
		vds.ErrProviderCacheCorrupt:  {"remove_plex": own(removeForeign).onKernel()},
		vds.ErrObjectDeleted:         {"remove_plex": shared(removeDeleted)},
	}
}

// removing is the call of RemovePlex.
func removing(l *lun.LUN, plex uuid.UUID) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := l.RemovePlex(ctx, plex)
		return err
	}
}

// refusedRemove is refused for RemovePlex, and for Split.
func refusedRemove(r *lab.Rig, code vds.Code, l *lun.LUN, plex uuid.UUID, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, call: removing(l, plex), args: []string{"plex", "remove", l.Name(), plex.String(), "--yes"},
	})
	refused(r, refusal{
		code: code, hint: hint, says: says,
		call: func(ctx context.Context) error {
			_, err := l.Split(ctx, plex, "new")
			return err
		},
	})
}

func plexUnknown(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.pairs, uuid.New(), "plexctl plex list pairs", "no such plex")
}

func plexOfAnother(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.pairs, w.PlexOn(w.busy, 2), "plexctl plex list pairs", "no such plex")
}

func plexIsALUN(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.pairs, w.pairs.ID(), "plexctl plex list pairs", "no such plex")
}

// GUIDs are random; here those of two plexes begin alike.
func plexAmbiguous(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	uuid.SetRand(alike{})
	t.Cleanup(func() { uuid.SetRand(nil) })
	l := r.Mirrored("web1", 0, 1)
	uuid.SetRand(nil)
	begin := r.PlexOn(l, 0).String()[:4]
	refused(r, refusal{
		code: code, hint: "by its whole GUID", says: []string{"several match"},
		args: []string{"plex", "remove", "web1", begin, "--yes"},
		call: func(context.Context) error { _, err := l.Plex(begin); return err },
	})
}

// alike is random but for the beginning of each read.
type alike struct{}

func (alike) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	copy(p[:n], []byte{0xab, 0xcd})
	return n, err
}

func onlyPlex(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.web, w.PlexOn(w.web, 0), "plexctl plex add", "is its only one")
}

// halfFailed is a mirror whose second plex has failed; its drive is back.
func halfFailed(t *testing.T) (*lab.Rig, *lun.LUN) {
	t.Helper()
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path)
	l := r.Mirrored("web1", 0, 1)
	failLeg(r, "web1", f)
	f.Heal()
	r.Refresh()
	return r, l
}

func lastActive(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.half, w.PlexOn(w.half, 0), "plexctl lun recover half", "no other plex holds all of the data")
}

func splitFailed(_ *testing.T, w *world, code vds.Code) {
	plex := w.PlexOn(w.half, 4)
	refused(w.Rig, refusal{
		code: code, hint: "plexctl lun recover half", says: []string{"does not hold all of the data"},
		args: []string{"plex", "split", "half", plex.String(), "--name", "new"},
		call: func(ctx context.Context) error { _, err := w.half.Split(ctx, plex, "new"); return err },
	})
}

func removeBusy(_ *testing.T, w *world, code vds.Code) {
	refusedRemove(w.Rig, code, w.busy, w.PlexOn(w.busy, 2), w.op.ID.String(), "add-plex is running")
	refusedRemove(w.Rig, code, w.busy, w.PlexOn(w.busy, 3), w.op.ID.String(), "add-plex is running")
}

func removeInactive(_ *testing.T, w *world, code vds.Code) {
	deactivate(w.Rig, "pairs")
	refusedRemove(w.Rig, code, w.pairs, w.PlexOn(w.pairs, 3), "plexctl assemble", "is not active")
	w.Assemble("pairs")
}

// Somebody has replaced the mirror by its first plex alone. That plex is then the one that counts, in every process that
// has read the drives anew, and the other one can be recovered.
func removeForeign(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	l := r.Mirrored("web1", 0, 1)
	other := ofHost(r)
	onlyPlexIs(r, l, 0)
	refusedRemove(r, code, l, r.PlexOn(l, 1), "run `plexctl reenumerate`", "another table")
	writeBlock(t, "/dev/mapper/plex-web1", size.MiB)
	r.Run("reenumerate")
	lab.Must(t, other.Refresh(t.Context()))
	again, err := other.LUN("web1")
	lab.Must(t, err)
	if props, err := again.Properties(t.Context()); err != nil || props.Health != vds.HealthFailedRedundancy {
		t.Errorf("another Provider sees %v, %v, want failed redundancy", props.Health, err)
	}
	r.End(again.Recover(t.Context()))
	r.EqualLegs(r.Record("web1"))
}

func removeDeleted(_ *testing.T, w *world, code vds.Code) {
	l := w.Create("doomed", size.MiB, 0)
	plex := w.PlexOn(l, 0)
	w.Run("lun", "delete", "doomed", "--yes")
	refused(w.Rig, refusal{code: code, says: []string{"deleted"}, call: removing(l, plex)})
}

func splitTaken(_ *testing.T, w *world, code vds.Code) {
	refusedSplit(w.Rig, code, w.pairs, "web1", "", "the name is taken")
}

func splitName(_ *testing.T, w *world, code vds.Code) {
	refusedSplit(w.Rig, code, w.pairs, "a/b", "letters, digits", "cannot have this name")
}

// refusedSplit is refused for a split of the plex on the last drive under a name.
func refusedSplit(r *lab.Rig, code vds.Code, l *lun.LUN, name, hint string, says ...string) {
	r.T.Helper()
	plex := r.PlexOn(l, 3)
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"plex", "split", l.Name(), plex.String(), "--name", name},
		call: func(ctx context.Context) error { _, err := l.Split(ctx, plex, name); return err },
	})
}

// recoverRefusals is what speaks against Recover.
func recoverRefusals() provocations {
	return provocations{
		vds.ErrInvalidOperation:      {"recover": shared(recoverOne)},
		vds.ErrObjectStatusFailed:    {"recover_inactive": shared(recoverInactive), "recover_drive_missing": shared(recoverMissing)},
		vds.ErrAnotherCallInProgress: {"recover": shared(recoverBusy)},
		vds.ErrProviderCacheCorrupt:  {"recover": own(recoverForeign).onKernel()},
		vds.ErrObjectDeleted:         {"recover": shared(recoverDeleted)},
	}
}

// refusedRecover is refused for Recover.
func refusedRecover(r *lab.Rig, code vds.Code, l *lun.LUN, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"lun", "recover", l.Name()},
		call: func(ctx context.Context) error { _, err := l.Recover(ctx); return err },
	})
}

func recoverOne(_ *testing.T, w *world, code vds.Code) {
	refusedRecover(w.Rig, code, w.web, "plexctl plex add", "one plex")
}

func recoverInactive(_ *testing.T, w *world, code vds.Code) {
	deactivate(w.Rig, "pairs")
	refusedRecover(w.Rig, code, w.pairs, "plexctl assemble", "is not active")
	w.Assemble("pairs")
}

func recoverMissing(_ *testing.T, w *world, code vds.Code) {
	w.fragile.Pull()
	refusedRecover(w.Rig, code, w.half, "attach the drive", "is missing")
	w.fragile.Heal()
}

func recoverBusy(_ *testing.T, w *world, code vds.Code) {
	refusedRecover(w.Rig, code, w.busy, w.op.ID.String(), "add-plex is running")
}

func recoverForeign(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	l := r.Mirrored("web1", 0, 1)
	onlyPlexIs(r, l, 1)
	refusedRecover(r, code, l, "run `plexctl reenumerate`", "another table")
	r.Run("reenumerate")
	r.Refresh()
	r.End(l.Recover(t.Context()))
	r.EqualLegs(r.Record("web1"))
}

func recoverDeleted(_ *testing.T, w *world, code vds.Code) {
	l := w.Create("doomed", size.MiB, 0)
	w.Run("lun", "delete", "doomed", "--yes")
	refused(w.Rig, refusal{code: code, says: []string{"deleted"}, call: func(ctx context.Context) error { _, err := l.Recover(ctx); return err }})
}
