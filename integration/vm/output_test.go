package vm

import (
	"bytes"
	"strings"
	"testing"
)

func TestPrefixWriter(t *testing.T) {
	var out bytes.Buffer
	w := (&sharedWriter{w: &out}).prefixed("6.1", true)
	for _, text := range []string{"one\ntw", "o\n", "\n", "three", "\nunfinished"} {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write(%q) = %d, %v", text, n, err)
		}
	}
	if want := "6.1 | one\n6.1 | two\n6.1 | \n6.1 | three\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", &out, want)
	}
}

func TestOneGuestNeedsNoPrefix(t *testing.T) {
	var out bytes.Buffer
	w := (&sharedWriter{w: &out}).prefixed("6.1", false)
	if _, err := w.Write([]byte("unfinished")); err != nil || out.String() != "unfinished" {
		t.Errorf("wrote %q, %v", &out, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for range 3 {
		if _, err := kept.Write([]byte(strings.Repeat("x", tailLength/2))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kept.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	if got := kept.String(); len(got) != tailLength || !strings.HasSuffix(got, "xend") {
		t.Errorf("kept %d bytes that end with %q", len(got), got[len(got)-4:])
	}
}

func TestVirtualizes(t *testing.T) {
	for cpuinfo, want := range map[string]bool{
		"flags\t\t: fpu vmx sse\n":               true,
		"processor : 0\nflags : fpu svm\nbugs :": true,
		"flags\t\t: fpu sse\nvmx flags : ept\n":  false,
		"flags\t\t: fpu svm_lock\n":              false,
		"model name : vmx\n":                     false,
		"":                                       false,
	} {
		if got := virtualizes([]byte(cpuinfo)); got != want {
			t.Errorf("virtualizes(%q) = %v", cpuinfo, got)
		}
	}
}

func TestAcceleratorCanBeForced(t *testing.T) {
	for forced, want := range map[string]string{"tcg": "tcg,thread=single", "kvm": "kvm"} {
		t.Setenv(accelVar, forced)
		if got, err := Accelerator(); got != want || err != nil {
			t.Errorf("%s=%s: %q, %v, want %q", accelVar, forced, got, err, want)
		}
	}
	t.Setenv(accelVar, "xen")
	if got, err := Accelerator(); err == nil {
		t.Errorf("%s=xen: %q, want an error", accelVar, got)
	}
}
