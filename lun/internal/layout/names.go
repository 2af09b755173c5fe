package layout

import (
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// Names of device-mapper devices. A LUN's name cannot hold a colon, so a private device's name never collides with it.
const (
	namePrefix = "plex-"
	uuidPrefix = "PLEX-"
	nameSep    = ":"
)

// LUNUUID is the dm UUID of a LUN's own device.
func LUNUUID(id uuid.UUID) string { return uuidPrefix + id.String() }

// LUNName is the dm name of a LUN's own device.
func LUNName(name string) string { return namePrefix + name }

// NameOf is the name of the LUN that a device has its name from.
func NameOf(device string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(device, namePrefix), nameSep)
	return name
}

// MetaUUID is the dm UUID of the private device over a metadata slot of a plex.
func MetaUUID(l catalog.LUN, p catalog.Plex, s catalog.Slot) string {
	p.Slot = s
	return metaNode(l, p).UUID
}

// DataUUID is the dm UUID of the private device over the data of a plex.
func DataUUID(l catalog.LUN, p catalog.Plex) string { return dataNode(l, p).UUID }

// OwnerOf is the LUN that a dm UUID belongs to; false for a device that plexctl did not make.
func OwnerOf(dmUUID string) (uuid.UUID, bool) {
	rest, ok := strings.CutPrefix(dmUUID, uuidPrefix)
	if !ok || len(rest) < 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(rest[:36])
	return id, err == nil
}
