package doctest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCodeTests(t *testing.T) {
	const page = "| code | when | exit | test |\n" +
		"| --- | --- | --- | --- |\n" +
		"| `VDS_E_IO_ERROR` | a drive does not take it, `K/no` | 6 | `K/metadata`, `M/again` |\n" +
		"| `VDS_E_A`, `VDS_E_B` | no room | 7 | `M/add_plex` |\n" +
		"| Cancel | `S_OK` | it works | 0 | `K/cancel` |\n" +
		"| Wait | the result | 0 | `M/S_OK/wait` |\n" +
		"| `E_FAIL` | never | 1 | none |\n" +
		"`VDS_E_IO_ERROR` is | not | a | `K/row` |\n"
	path := filepath.Join(t.TempDir(), "vds.md")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := CodeTests(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []CodeTest{
		{"VDS_E_IO_ERROR/metadata", false},
		{"VDS_E_IO_ERROR/again", true},
		{"VDS_E_A/add_plex", true},
		{"VDS_E_B/add_plex", true},
		{"S_OK/cancel", false},
		{"S_OK/wait", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tests (-want +got):\n%s", diff)
	}
}
