//go:build linux

package blockdev

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Identity is what a device says of itself. It is the same at every boot and under every path. It has parts of the form "key:value",
// with ';' between them: printable ASCII without blanks, and at most 256 bytes. It is empty for a device that says nothing, such
// as a loop device.
//
//	id      World Wide Name of a disk (wwid in sysfs); for a logical volume of LVM, its UUID
//	serial  serial number of a disk
//	part    GUID of a partition, beside the parts of its disk. Kernels before 6.7 do not tell it
//
// An identity tells a disk from a copy of it. It is no proof: a device says what it was made to say.
type Identity string

// Match is the result of a comparison of identities.
type Match int

// The results of Identity.Compare.
const (
	Unknown   Match = iota // one of the two says nothing that the other says too
	Same                   // both are of one device
	Different              // they are of different devices
)

// maxPart is the longest value of a part. Of a longer one a checksum takes the place.
const maxPart = 64

// newIdentity is the identity of these keys and values, in pairs. It leaves out empty values.
func newIdentity(pairs ...string) Identity {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		if value := plain(pairs[i+1]); value != "" {
			parts = append(parts, pairs[i]+":"+value)
		}
	}
	return Identity(strings.Join(parts, ";"))
}

// plain is a value without blanks and other characters that an Identity cannot have.
func plain(value string) string {
	value = strings.Join(strings.Fields(value), "_")
	value = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == ';' {
			return '_'
		}
		return r
	}, value)
	if len(value) > maxPart {
		sum := sha256.Sum256([]byte(value))
		return hex.EncodeToString(sum[:maxPart/2])
	}
	return value
}

// part is the value of a key; "" when there is none.
func (i Identity) part(key string) string {
	for one := range strings.SplitSeq(string(i), ";") {
		if value, ok := strings.CutPrefix(one, key+":"); ok {
			return value
		}
	}
	return ""
}

// Compare compares the identity that a device had with the one that it has now. A device that had a name or a serial number, and
// has neither now, is another one.
func (i Identity) Compare(now Identity) Match {
	match := Unknown
	for _, key := range []string{"id", "serial"} {
		was, is := i.part(key), now.part(key)
		if was != "" {
			match = Different
		}
		if was != "" && is != "" {
			match = equal(was, is)
			break
		}
	}
	if was, is := i.part("part"), now.part("part"); match != Different && was != "" && is != "" {
		return equal(was, is)
	}
	return match
}

func equal(a, b string) Match {
	if a == b {
		return Same
	}
	return Different
}

// identity is what the device says of itself.
func (n node) identity() Identity {
	switch {
	case n.mapped():
		return mappedIdentity(n.text("dm/uuid"))
	case strings.HasPrefix(n.name, "loop"):
		return ""
	}
	disk := n.disk()
	id := cmp.Or(disk.text("wwid"), disk.text("device/wwid"))
	part := ""
	if disk.name != n.name {
		part = n.partUUID()
	}
	return newIdentity("id", id, "serial", disk.serial(), "part", part)
}

// mappedIdentity is the identity of a device-mapper device with this dm UUID. A multipath device has that of its paths. The UUIDs
// of others name how the device was made and not which one it is, or say nothing.
func mappedIdentity(uuid string) Identity {
	if strings.HasPrefix(uuid, "LVM-") {
		return newIdentity("id", uuid)
	}
	wwid, ok := strings.CutPrefix(uuid, "mpath-")
	if !ok {
		return ""
	}
	for prefix, kind := range map[string]string{"2": "eui.", "3": "naa."} { // as scsi_id of udev writes them
		if rest, ok := strings.CutPrefix(wwid, prefix); ok {
			wwid = kind + rest
			break
		}
	}
	return newIdentity("id", wwid)
}

// partUUID is the GUID of a partition, if the kernel tells it.
func (n node) partUUID() string {
	for line := range strings.Lines(n.text("uevent")) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "PARTUUID="); ok {
			return strings.ToLower(id)
		}
	}
	return ""
}
