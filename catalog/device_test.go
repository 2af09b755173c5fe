package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDeviceText(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"nothing":           {"", ""},
		"a model":           {"WDC WD40EFRX-68N", "WDC WD40EFRX-68N"},
		"beyond ASCII":      {"/srv/Gerät.img", "/srv/Gerät.img"},
		"commas":            {"a,b,c", "a b c"},
		"escapes":           {"a\x1b[2Jb\x00\u009b\n", "a?[2Jb???"},
		"right to left":     {"a\u202eb", "a?b"},
		"no UTF-8":          {"a\xff\xfeb", "a??b"},
		"as long as may be": {strings.Repeat("x", 64), strings.Repeat("x", 64)},
		"too long":          {strings.Repeat("x", 65), strings.Repeat("x", 61) + "…"},
		"cut in a letter":   {strings.Repeat("x", 60) + "ääää", strings.Repeat("x", 60) + "…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := DeviceText(tt.in); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// What devices say of themselves never makes a record that cannot be read back.
func TestDeviceTextsCanBeReadBack(t *testing.T) {
	for name, text := range map[string]string{
		"commas":  strings.Repeat(",", 400),
		"quotes":  strings.Repeat(`"\`, 200),
		"angles":  strings.Repeat("<&>", 200),
		"any":     strings.Repeat("\xff\x00\x1b\u2028,", 100),
		"one":     "x",
		"nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			l := fullLUN()
			l.Devices = nil
			for i := range MaxDevices {
				said := DeviceText(text)
				l.Devices = append(l.Devices, Device{Drive: driveID(i + 1), Path: DeviceText("/dev/" + text), Model: said, Serial: said})
			}
			if err := l.Validate(); err != nil {
				t.Fatal(err)
			}
			body, err := encodeBody([]LUN{l})
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeBody(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]LUN{l}, got); diff != "" {
				t.Errorf("(-written +read):\n%s", diff)
			}
		})
	}
}
