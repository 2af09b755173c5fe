package catalog

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ellipsis ends a text of which the rest is left out.
const ellipsis = "…"

// DeviceText is a text of a device as a record takes it. Devices say what they like. So it is valid UTF-8 that can be printed, and at
// most MaxDeviceText bytes long. It has no commas, by which the values of a catalog are counted before it is decoded.
func DeviceText(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == ',':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
	if len(text) <= MaxDeviceText {
		return text
	}
	end := MaxDeviceText - len(ellipsis)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// checkDevices checks the devices of the LUN's drives, as far as that bounds what is shown of them.
func (l LUN) checkDevices() error {
	if len(l.Devices) > MaxDevices {
		return invalid("%d devices, limit %d", len(l.Devices), MaxDevices)
	}
	for i, d := range l.Devices {
		switch {
		case d.Drive == uuid.Nil || i > 0 && compareIDs(l.Devices[i-1].Drive, d.Drive) >= 0:
			return invalid("device of drive %s: not in order of GUIDs, or there twice", d.Drive)
		case max(len(d.Path), len(d.Model), len(d.Serial)) > MaxDeviceText:
			return invalid("device of drive %s: a text of more than %d bytes", d.Drive, MaxDeviceText)
		}
	}
	return nil
}

// DeviceOf is the device on which a drive of l was; empty when the record does not say.
func (l LUN) DeviceOf(drive uuid.UUID) Device {
	for _, d := range l.Devices {
		if d.Drive == drive {
			return d
		}
	}
	return Device{Drive: drive}
}
