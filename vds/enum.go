package vds

import (
	"cmp"
	"fmt"
)

// Health is VDS_HEALTH. A mirror that has lost a plex is HealthFailedRedundancy; VDS has no "degraded" for LUNs.
type Health int32

// Values of Health that a LUN or a plex can have.
const (
	HealthUnknown           Health = 0
	HealthHealthy           Health = 1
	HealthRebuilding        Health = 2
	HealthFailingRedundancy Health = 5 // all plexes work, and a check has found that they differ
	HealthFailedRedundancy  Health = 6
	HealthFailed            Health = 8
)

var healthNames = names[Health]{
	HealthUnknown:           "unknown",
	HealthHealthy:           "healthy",
	HealthRebuilding:        "rebuilding",
	HealthFailingRedundancy: "failing-redundancy",
	HealthFailedRedundancy:  "failed-redundancy",
	HealthFailed:            "failed",
}

// String is the name used in output: "failed-redundancy".
func (h Health) String() string { return healthNames.of(h, "health") }

// MarshalText writes the name.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Status is VDS_LUN_STATUS and VDS_LUN_PLEX_STATUS, which share one numbering.
type Status int32

// Values of Status that a LUN or a plex can have.
const (
	StatusUnknown  Status = 0
	StatusOnline   Status = 1
	StatusNotReady Status = 2
	StatusOffline  Status = 4
	StatusFailed   Status = 5
)

var statusNames = names[Status]{
	StatusUnknown:  "unknown",
	StatusOnline:   "online",
	StatusNotReady: "not-ready",
	StatusOffline:  "offline",
	StatusFailed:   "failed",
}

// String is the name used in output: "online".
func (s Status) String() string { return statusNames.of(s, "status") }

// MarshalText writes the name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LUNType is VDS_LUN_TYPE and VDS_LUN_PLEX_TYPE, which share one numbering. A plex is never TypeMirror.
type LUNType int32

// Values of LUNType that plexctl makes.
const (
	TypeUnknown LUNType = 0
	TypeSimple  LUNType = 10
	TypeSpan    LUNType = 11
	TypeMirror  LUNType = 13
)

var typeNames = names[LUNType]{
	TypeUnknown: "unknown",
	TypeSimple:  "simple",
	TypeSpan:    "span",
	TypeMirror:  "mirror",
}

// String is the name used in output: "mirror".
func (t LUNType) String() string { return typeNames.of(t, "type") }

// MarshalText writes the name.
func (t LUNType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// AsyncType is VDS_ASYNC_OUTPUT_TYPE: what an asynchronous operation does. A handle that plexctl returns never has
// AsyncUnknown.
type AsyncType int32

// Values of AsyncType for operations on LUNs.
const (
	AsyncUnknown       AsyncType = 0
	AsyncCreateLUN     AsyncType = 50
	AsyncAddLUNPlex    AsyncType = 52
	AsyncRemoveLUNPlex AsyncType = 53
	AsyncExtendLUN     AsyncType = 54
	AsyncRecoverLUN    AsyncType = 56
)

var asyncNames = names[AsyncType]{
	AsyncUnknown:       "unknown",
	AsyncCreateLUN:     "create-lun",
	AsyncAddLUNPlex:    "add-plex",
	AsyncRemoveLUNPlex: "remove-plex",
	AsyncExtendLUN:     "extend-lun",
	AsyncRecoverLUN:    "recover-lun",
}

// String is the name used in output and in catalogs: "add-plex".
func (t AsyncType) String() string { return asyncNames.of(t, "operation") }

// MarshalText writes the name.
func (t AsyncType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown name is an error.
func (t *AsyncType) UnmarshalText(text []byte) error {
	value, ok := asyncNames.value(text)
	if !ok {
		return fmt.Errorf("operation type %q: unknown", text)
	}
	*t = value
	return nil
}

// names are the texts of the values of a type, no text twice.
type names[T ~int32 | ~uint32] map[T]string

// of returns the text of a value, or kind and number for a value without one.
func (n names[T]) of(value T, kind string) string {
	return cmp.Or(n[value], fmt.Sprintf("%s-%d", kind, int64(value)))
}

// value returns the value that a text stands for.
func (n names[T]) value(text []byte) (T, bool) {
	for value, name := range n {
		if name == string(text) {
			return value, true
		}
	}
	return 0, false
}
