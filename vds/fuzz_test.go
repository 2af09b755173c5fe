package vds

import "testing"

// FuzzAsyncType reads any text as the name of an operation. What is one is written as the same text.
func FuzzAsyncType(f *testing.F) {
	for _, text := range []string{"add-plex", "recover-lun", "unknown", "operation-56", "Add-Plex", "", "add-plex\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const before = AsyncType(-1)
		kind := before
		if err := kind.UnmarshalText(text); err != nil {
			if kind != before {
				t.Errorf("%q: %v comes with the error %v", text, kind, err)
			}
			return
		}
		if again, err := kind.MarshalText(); err != nil || string(again) != string(text) {
			t.Errorf("%q is written as %q, %v", text, again, err)
		}
	})
}
