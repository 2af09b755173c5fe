package main

import (
	"strings"
	"testing"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

func TestParseRate(t *testing.T) {
	tests := []struct {
		name string
		text string
		want size.Bytes
	}{
		{"as fast as the drives are", "max", lun.Unlimited},
		{"no copying", "paused", lun.Paused},
		{"a unit", "50MiB", 50 * size.MiB},
		{"a letter", "50M", 50 * size.MiB},
		{"per second", "50MiB/s", 50 * size.MiB},
		{"a fraction", "1.5G", 1536 * size.MiB},
		{"bytes", "65536B", 64 * size.KiB},
		{"the slowest", "32KiB", 32 * size.KiB},
		{"spaces around it", " 50MiB ", 50 * size.MiB},
		{"a space before the unit", "50 MiB", 50 * size.MiB},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseRate(tt.text)
			if err != nil || got != tt.want {
				t.Errorf("%d and %v, want %d", got, err, tt.want)
			}
		})
	}
}

func TestParseRateRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "0", "1", "4096", "0KiB", "1023", "1KiB", "32767B", "512B", "-1", "-5MiB", "fast", "Max", "PAUSED", "paused/s", "max/s", "50MiB/h", "/s", "50MiB/s/s",
		"1,5M", "50 apples", "9223372036854775808", "1000E",
	} {
		t.Run(text, func(t *testing.T) {
			got, err := parseRate(text)
			if err == nil {
				t.Fatalf("%d, want an error", got)
			}
			if !strings.Contains(err.Error(), "rate \""+strings.TrimSpace(text)+"\"") || !strings.Contains(err.Error(), "paused") {
				t.Errorf("%q does not name the rate and what may be written", err)
			}
		})
	}
}

func TestValue(t *testing.T) {
	rate := lun.Unlimited
	flag := value[size.Bytes]{&rate, parseRate, "RATE"}
	if got := flag.String(); got != "" {
		t.Errorf("help shows %q for no limit", got)
	}
	if err := flag.Set("50M"); err != nil || rate != 50*size.MiB || flag.String() != "50 MiB" {
		t.Errorf("%v, %d shown as %q", err, rate, flag.String())
	}
	if err := flag.Set("fast"); err == nil || rate != 50*size.MiB {
		t.Errorf("%v, and a text that is no rate has changed it to %d", err, rate)
	}
}
