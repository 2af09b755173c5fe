package lun_test

import (
	"testing"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// A tracked LUN has grown and has then been a plex. It starts when a cancel has given it back after a power cut: what it was a plex
// of has left its metadata there.
func TestAGivenBackLUNStarts(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 2)
	w.create("web1", lunSize, 0)
	w.track = true
	spare := w.create("spare3", lunSize, 1)
	_, err := spare.Extend(t.Context(), size.MiB, nil)
	w.must(err)
	w.rest()
	_, err = w.find("web1").AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	w.must(err)
	if source := w.record("web1").Operation.Source; !source.Plexes[0].Prior {
		t.Fatal("the source has no other metadata that counts")
	}
	w.cut(blocktest.Kept)
	w.must(cancel(w))
	w.assemble()
	w.nothingToDo("in the end")
}
