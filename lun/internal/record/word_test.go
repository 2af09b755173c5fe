package record_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun/internal/record"
)

// A word reads as a GUID, or as the beginning of one, with dashes anywhere and in any case.
func TestWords(t *testing.T) {
	id := uuid.MustParse("cfb28aff-0de1-4c58-9a49-3f0a1b2c3d4e")
	tests := map[string]struct{ reads, begins, whole bool }{
		id.String():                              {true, true, true},
		strings.ToUpper(id.String()):             {true, true, true},
		strings.ReplaceAll(id.String(), "-", ""): {true, true, true},
		"cfb28aff":                               {true, true, false},
		"cfb28aff-":                              {true, true, false},
		"CFB2":                                   {true, true, false},
		"cf-b2":                                  {true, true, false},
		"cfb":                                    {false, false, false},
		"2024":                                   {true, false, false},
		"face":                                   {true, false, false},
		id.String()[:35] + "f":                   {true, false, false},
		id.String() + "0":                        {false, false, false},
		"web1":                                   {false, false, false},
		"lun-cfb28aff":                           {false, false, false},
		"cfb2_8aff":                              {false, false, false},
		"c.fb28aff":                              {false, false, false},
		"----":                                   {false, false, false},
		"":                                       {false, false, false},
	}
	for word, test := range tests {
		if got := record.ReadsAsGUID(word); got != test.reads {
			t.Errorf("%q reads as a GUID: %v", word, got)
		}
		if got := record.BeginsGUID(word, id); got != test.begins {
			t.Errorf("%q begins %s: %v", word, id, got)
		}
		if got := record.IsGUID(word, id); got != test.whole {
			t.Errorf("%q is %s: %v", word, id, got)
		}
	}
}
