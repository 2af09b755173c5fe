package layout

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// FuzzOwner reads any dm UUID. What is taken for plexctl's is, and all UUIDs that plexctl gives are found again.
func FuzzOwner(f *testing.F) {
	for _, id := range []string{
		"PLEX-01000000-0000-0000-0000-000000000001", "PLEX-01000000-0000-0000-0000-000000000001-data", "PLEX-", "LVM-x",
		"PLEX-urn:uuid:01000000-0000-0000-0000-000000000001", "PLEX-{01000000-0000-0000-0000-00000000000", "PLEX-" + strings.Repeat("0", 36),
	} {
		f.Add(id, []byte{1})
	}
	f.Fuzz(func(t *testing.T, dmUUID string, seed []byte) {
		owner, ok := OwnerOf(dmUUID)
		if ok && !strings.HasPrefix(strings.ToLower(dmUUID), strings.ToLower(LUNUUID(owner))) {
			t.Errorf("%q is taken for a device of %s", dmUUID, owner)
		}
		l := catalog.LUN{ID: uuid.NewSHA1(uuid.Nil, seed), Name: "a"}
		p := catalog.Plex{ID: uuid.NewSHA1(l.ID, seed), Slot: catalog.SlotA}
		for _, n := range []Node{metaNode(l, p), dataNode(l, p), {UUID: LUNUUID(l.ID)}} {
			if owner, ok := OwnerOf(n.UUID); !ok || owner != l.ID {
				t.Errorf("%q: %s, %v; want %s", n.UUID, owner, ok, l.ID)
			}
		}
	})
}
