package vds

import (
	"encoding"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestEnumNumbers has the numbers of the Windows headers (vds.h), written down a second time.
func TestEnumNumbers(t *testing.T) {
	tests := []struct {
		value  encoding.TextMarshaler
		number int32
		name   string
	}{
		{HealthUnknown, 0, "unknown"},
		{HealthHealthy, 1, "healthy"},
		{HealthRebuilding, 2, "rebuilding"},
		{HealthFailedRedundancy, 6, "failed-redundancy"},
		{HealthFailed, 8, "failed"},
		{Health(3), 3, "health-3"},
		{Health(-1), -1, "health--1"},
		{StatusUnknown, 0, "unknown"},
		{StatusOnline, 1, "online"},
		{StatusNotReady, 2, "not-ready"},
		{StatusOffline, 4, "offline"},
		{StatusFailed, 5, "failed"},
		{Status(99), 99, "status-99"},
		{TypeUnknown, 0, "unknown"},
		{TypeSimple, 10, "simple"},
		{TypeSpan, 11, "span"},
		{TypeMirror, 13, "mirror"},
		{LUNType(12), 12, "type-12"},
		{AsyncUnknown, 0, "unknown"},
		{AsyncCreateLUN, 50, "create-lun"},
		{AsyncAddLUNPlex, 52, "add-plex"},
		{AsyncRemoveLUNPlex, 53, "remove-plex"},
		{AsyncExtendLUN, 54, "extend-lun"},
		{AsyncRecoverLUN, 56, "recover-lun"},
		{AsyncType(51), 51, "operation-51"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%T %s", tt.value, tt.name), func(t *testing.T) {
			if got := fmt.Sprintf("%d", tt.value); got != fmt.Sprint(tt.number) {
				t.Errorf("number %s, want %d", got, tt.number)
			}
			text, err := json.Marshal(tt.value)
			if want := `"` + tt.name + `"`; err != nil || string(text) != want || fmt.Sprint(tt.value) != tt.name {
				t.Errorf("written as %s and %v, %v, want %s", text, tt.value, err, want)
			}
		})
	}
}

// TestNamesAreUnique makes sure that a name means one value of its enumeration.
func TestNamesAreUnique(t *testing.T) {
	checkUnique(t, healthNames)
	checkUnique(t, statusNames)
	checkUnique(t, typeNames)
	checkUnique(t, asyncNames)
}

func checkUnique[T comparable](t *testing.T, names map[T]string) {
	t.Helper()
	seen := map[string]bool{}
	for value, name := range names {
		if seen[name] || name != strings.ToLower(name) || name == "" {
			t.Errorf("%T: name %q is empty, has capitals, or is there twice", value, name)
		}
		seen[name] = true
	}
}

func TestAsyncTypeText(t *testing.T) {
	for value, name := range asyncNames {
		var back AsyncType
		if err := back.UnmarshalText([]byte(name)); err != nil || back != value {
			t.Errorf("%q is taken for %s, %v", name, back, err)
		}
	}
	for _, text := range []string{"", "fly", "Add-plex", "add-plex ", "52", "operation-52"} {
		value := AsyncCreateLUN
		if err := value.UnmarshalText([]byte(text)); err == nil || value != AsyncCreateLUN || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q is taken for %s, error %v", text, value, err)
		}
	}
}
