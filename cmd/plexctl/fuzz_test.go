package main

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// FuzzRate reads any text as a rate. What LUN.SetRate takes is printed by help and status so that it reads back.
func FuzzRate(f *testing.F) {
	for _, text := range []string{"50MiB/s", "paused", "max", "1KiB", "1023", "0", " 1G ", "1.5M/s/s", "-1", "1e3", "9EiB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := parseRate(text)
		if err != nil {
			if rate != 0 {
				t.Errorf("%q: %d comes with the error %v", text, rate, err)
			}
			return
		}
		if rate != lun.Unlimited && rate != lun.Paused && rate < size.KiB {
			t.Errorf("%q is %d", text, rate)
		}
		var given size.Bytes
		flag := value[size.Bytes]{&given, parseRate, "RATE"}
		if err := flag.Set(text); err != nil || given != rate {
			t.Errorf("flag of %q: %d, %v; want %d", text, given, err, rate)
		}
		if rate > size.TiB {
			return // LUN.SetRate refuses it
		}
		again, err := parseRate(rateText(rate))
		if twice, _ := parseRate(rateText(again)); err != nil || rateText(again) != rateText(twice) {
			t.Errorf("%q is printed as %q, which is %d, %v", text, rateText(rate), again, err)
		}
	})
}

// FuzzBytes reads any text as a size of the command line.
func FuzzBytes(f *testing.F) {
	for _, text := range []string{"10GiB", " 1T ", "-1", "", "0x10", "1.000000001K"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var given size.Bytes
		cmd := &cobra.Command{}
		sizeFlag(cmd, &given, "size", "s", "")
		err := cmd.Flags().Set("size", text)
		if err != nil && given != 0 {
			t.Errorf("%q: %d comes with the error %v", text, given, err)
		}
		if err == nil && int64(given) < 0 {
			t.Errorf("%q does not fit 63 bits", text)
		}
	})
}
