package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// plexRefusals is what speaks against RemovePlex and Split.
func plexRefusals() provocations {
	return provocations{
		vds.ErrObjectNotFound: {
			"plex_unknown": plexUnknown, "plex_of_another_lun": plexOfAnother, "plex_is_a_lun": plexIsALUN,
		},
		vds.ErrInvalidArg:            {"plex_ambiguous": plexAmbiguous, "split": splitName},
		vds.ErrNameNotUnique:         {"split": splitTaken},
		vds.ErrInvalidOperation:      {"only_plex": onlyPlex},
		vds.ErrPlexLastActive:        {"remove_plex": lastActive},
		vds.ErrAnotherCallInProgress: {"remove_plex": removeBusy},
		vds.ErrObjectStatusFailed:    {"remove_plex_inactive": removeInactive, "split": splitFailed},
		vds.ErrProviderCacheCorrupt:  {"remove_plex": removeForeign},
		vds.ErrObjectDeleted:         {"remove_plex": removeDeleted},
	}
}

// removing is the call of RemovePlex.
func removing(l *lun.LUN, plex uuid.UUID) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := l.RemovePlex(ctx, plex)
		return err
	}
}

// refusedRemove is refused for RemovePlex, and for a split where that is asked for too.
func (r *rig) refusedRemove(code vds.Code, l *lun.LUN, plex uuid.UUID, hint string, says ...string) {
	r.t.Helper()
	r.refused(refusal{
		code: code, hint: hint, says: says, call: removing(l, plex), args: []string{"plex", "remove", l.Name(), plex.String(), "--yes"},
	})
	r.refused(refusal{
		code: code, hint: hint, says: says, args: []string{"plex", "split", l.Name(), plex.String(), "--name", "new"},
		call: func(ctx context.Context) error {
			_, err := l.Split(ctx, plex, "new")
			return err
		},
	})
}

func plexUnknown(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	r.refusedRemove(code, r.mirrored("web1", 0, 1), uuid.New(), "plexctl plex list web1", "no such plex")
}

func plexOfAnother(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l, other := r.mirrored("web1", 0, 1), r.create("web2", codesLUN, 0)
	r.refusedRemove(code, l, r.plexOn(other, 0), "plexctl plex list web1", "no such plex")
}

func plexIsALUN(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	r.refusedRemove(code, l, l.ID(), "plexctl plex list web1", "no such plex")
}

// GUIDs are random; here those of two plexes begin alike.
func plexAmbiguous(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	uuid.SetRand(alike{})
	l := r.mirrored("web1", 0, 1)
	uuid.SetRand(nil)
	begin := r.plexOn(l, 0).String()[:4]
	r.refused(refusal{
		code: code, hint: "by its whole GUID", says: []string{"several plexes match"},
		args: []string{"plex", "remove", "web1", begin, "--yes"},
		call: func(context.Context) error { _, err := l.Plex(begin); return err },
	})
}

// alike is random but for the beginning of each read.
type alike struct{}

func (alike) Read(p []byte) (int, error) {
	return io.MultiReader(bytes.NewReader([]byte{0xab, 0xcd}), rand.Reader).Read(p)
}

func onlyPlex(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	l := r.create("web1", codesLUN, 0)
	r.refusedRemove(code, l, r.plexOn(l, 0), "plexctl lun delete", "is its only one")
}

// halfFailed is a mirror whose second plex has failed; its drive is back.
func halfFailed(t *testing.T) (*rig, *lun.LUN) {
	t.Helper()
	newLab(t)
	f := newFragile(t, "fragile")
	r := labelled(t, newLoop(t, codesDrive, 512), f.path)
	l := r.mirrored("web1", 0, 1)
	r.failLeg("web1", f)
	f.mend()
	r.refresh()
	return r, l
}

func lastActive(t *testing.T, code vds.Code) {
	r, l := halfFailed(t)
	r.refusedRemove(code, l, r.plexOn(l, 0), "plexctl lun recover web1", "no other plex holds all of the data")
}

func splitFailed(t *testing.T, code vds.Code) {
	r, l := halfFailed(t)
	plex := r.plexOn(l, 1)
	r.refused(refusal{
		code: code, hint: "plexctl lun recover web1", says: []string{"does not hold all of the data"},
		args: []string{"plex", "split", "web1", plex.String(), "--name", "new"},
		call: func(ctx context.Context) error { _, err := l.Split(ctx, plex, "new"); return err },
	})
}

func removeBusy(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l, op := r.busy("web1", 0, 1)
	r.refusedRemove(code, l, r.plexOn(l, 0), op.ID.String(), "add-plex is running")
	r.refusedRemove(code, l, r.plexOn(l, 1), op.ID.String(), "add-plex is running")
}

func removeInactive(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	plex := r.plexOn(l, 1)
	r.deactivate("web1")
	r.refusedRemove(code, l, plex, "plexctl assemble", "is not active")
}

// Somebody has replaced the mirror by its first plex alone. That plex is then the one that counts, in every process that
// has read the drives anew, and the other one can be recovered.
func removeForeign(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	other := r.ofHost()
	r.onlyPlexIs(l, 0)
	r.refusedRemove(code, l, r.plexOn(l, 1), "run `plexctl reenumerate`, then `plexctl refresh`", "another table")
	writeBlock(t, "/dev/mapper/plex-web1", size.MiB)
	r.run("reenumerate")
	must(t, other.Refresh(t.Context()))
	again, err := other.LUN("web1")
	must(t, err)
	if props, err := again.Properties(t.Context()); err != nil || props.Health != vds.HealthFailedRedundancy {
		t.Errorf("another Provider sees %v, %v, want failed redundancy", props.Health, err)
	}
	r.end(again.Recover(t.Context()))
	r.equalLegs(r.record("web1"))
}

func removeDeleted(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	l := r.create("web1", codesLUN, 0)
	plex := r.plexOn(l, 0)
	r.run("lun", "delete", "web1", "--yes")
	r.refused(refusal{code: code, says: []string{"deleted"}, call: removing(l, plex)})
}

func splitTaken(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	r.refusedSplit(code, l, "web1", "", "the name is taken")
}

func splitName(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	r.refusedSplit(code, r.mirrored("web1", 0, 1), "a/b", "letters, digits", "cannot have this name")
}

// refusedSplit is refused for a split of the plex on the second drive under a name.
func (r *rig) refusedSplit(code vds.Code, l *lun.LUN, name, hint string, says ...string) {
	r.t.Helper()
	plex := r.plexOn(l, 1)
	r.refused(refusal{
		code: code, hint: hint, says: says, args: []string{"plex", "split", l.Name(), plex.String(), "--name", name},
		call: func(ctx context.Context) error { _, err := l.Split(ctx, plex, name); return err },
	})
}

// recoverRefusals is what speaks against Recover.
func recoverRefusals() provocations {
	return provocations{
		vds.ErrInvalidOperation:      {"recover": recoverOne},
		vds.ErrObjectStatusFailed:    {"recover_inactive": recoverInactive, "recover_drive_missing": recoverMissing},
		vds.ErrAnotherCallInProgress: {"recover": recoverBusy},
		vds.ErrProviderCacheCorrupt:  {"recover": recoverForeign},
		vds.ErrObjectDeleted:         {"recover": recoverDeleted},
	}
}

// refusedRecover is refused for Recover.
func (r *rig) refusedRecover(code vds.Code, l *lun.LUN, hint string, says ...string) {
	r.t.Helper()
	r.refused(refusal{
		code: code, hint: hint, says: says, args: []string{"lun", "recover", l.Name()},
		call: func(ctx context.Context) error { _, err := l.Recover(ctx); return err },
	})
}

func recoverOne(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	r.refusedRecover(code, r.create("web1", codesLUN, 0), "plexctl plex add", "one plex")
}

func recoverInactive(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	r.deactivate("web1")
	r.refusedRecover(code, l, "plexctl assemble", "is not active")
}

func recoverMissing(t *testing.T, code vds.Code) {
	newLab(t)
	f := newFragile(t, "fragile")
	r := labelled(t, newLoop(t, codesDrive, 512), f.path)
	l := r.mirrored("web1", 0, 1)
	r.failLeg("web1", f)
	r.refusedRecover(code, l, "attach the drive", "is missing")
}

func recoverBusy(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l, op := r.busy("web1", 0, 1)
	r.refusedRecover(code, l, op.ID.String(), "add-plex is running")
}

func recoverForeign(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l := r.mirrored("web1", 0, 1)
	r.onlyPlexIs(l, 1)
	r.refusedRecover(code, l, "run `plexctl reenumerate`, then `plexctl refresh`", "another table")
	r.run("reenumerate")
	r.refresh()
	r.end(l.Recover(t.Context()))
	r.equalLegs(r.record("web1"))
}

func recoverDeleted(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	l := r.create("web1", codesLUN, 0)
	r.run("lun", "delete", "web1", "--yes")
	r.refused(refusal{code: code, says: []string{"deleted"}, call: func(ctx context.Context) error { _, err := l.Recover(ctx); return err }})
}
