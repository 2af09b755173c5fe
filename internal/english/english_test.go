package english

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func words(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }

// TestCheck has what must be found and what must not.
func TestCheck(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // beginnings of the rules that are broken
	}{
		"short and plain":            {"The kernel copies the data. It reports progress.", nil},
		"25 words":                   {words(25) + ".", nil},
		"26 words":                   {words(26) + ".", []string{"26 words"}},
		"26 words without an end":    {words(26), []string{"26 words"}},
		"26 words on two lines":      {words(13) + "\n" + words(13) + ".", []string{"26 words"}},
		"two of 13":                  {words(13) + ". " + words(13) + ".", nil},
		"two of 13, lower case":      {words(13) + ". it is " + words(11) + ".", nil},
		"two of 13 in brackets":      {words(13) + ". (" + words(13) + ".)", nil},
		"ends with a question":       {words(20) + "? " + words(20) + "!", nil},
		"an abbreviation is no end":  {words(13) + " e.g. " + words(13), []string{"27 words"}},
		"an ellipsis is no end":      {words(13) + " LUN... " + words(13), []string{"27 words"}},
		"a version is no end":        {words(13) + " 6.12 " + words(13), []string{"27 words"}},
		"a code span is one word":    {words(24) + " `plexctl lun show\nweb1. Then more.`", nil},
		"a link is its text":         {words(24) + " [page](docs/page.md)", nil},
		"a dash is no word":          {words(25) + " – → *", nil},
		"both numbers and units":     {words(24) + " 128 MiB", []string{"26 words"}},
		"opens with of which":        {"Of which nothing is known.", []string{`opens with "of which"`}},
		"opens with what is":         {"What is zero is not copied.", []string{`opens with "what is"`}},
		"opens with that":            {"That holds.", []string{`opens with "that"`}},
		"opens with where":           {"Where a drive fails, the other is read.", []string{`opens with "where"`}},
		"opens with nobody":          {"(Nobody writes it.)", []string{`opens with "nobody"`}},
		"the second sentence opens":  {"One leg fails. Where it fails, it is read.", []string{`opens with "where"`}},
		"what it does":               {"What it does", nil},
		"this that opens":            {"This that.", nil},
		"that inside":                {"A drive that fails, where it does, nobody reads.", nil},
		"whereas, thats":             {"Whereas one fails. Thatcher.", nil},
		"hangs over":                 {"A device hangs over.", []string{`says "hangs over"`}},
		"well again":                 {"The drive is well\nagain.", []string{`says "well again"`}},
		"let go on":                  {"It lets the old LUN go on.", []string{`says "lets the old LUN go on"`}},
		"let go on at once":          {"Let go on.", []string{`says "Let go on"`}},
		"goes on":                    {"The operation goes on. A leg may go on.", nil},
		"gives up":                   {"It gives the plex up.", []string{`says "gives the plex up"`}},
		"given up":                   {"A plex is given up.", []string{`says "given up"`}},
		"given":                      {"A name was given. Look up the name.", nil},
		"broke":                      {"A leg broke.", []string{`says "broke"`}},
		"broken":                     {"A broken leg.", nil},
		"an opening and a long one":  {"That " + words(30) + ".", []string{"31 words", `opens with "that"`}},
		"nothing":                    {"", nil},
		"only marks":                 {"– . !", nil},
		"a quoted end":               {`It is "done." ` + words(25) + ".", nil},
		"an emphasised end":          {"It is **done.** " + words(25) + ".", nil},
		"an end of a code span":      {"See `plexctl status`. " + words(25) + ".", nil},
		"an end inside of a file":    {words(13) + " vds.md " + words(13), []string{"27 words"}},
		"emphasis at the opening":    {"**Where** it fails, it is read.", []string{`opens with "where"`}},
		"where without a comma":      {"Where a new verb goes", nil},
		"an enumeration of code":     {words(24) + " `one`, `two`, `three four`, `five`.", nil},
		"two enumerations of code":   {words(24) + " `one`, `two` and `three`, `four`", []string{"27 words"}},
		"code at the opening":        {"`that` is a word.", nil},
		"a command at its beginning": {"`where` `that`", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			faults := Check([]Block{{1, test.text}})
			if len(faults) != len(test.want) {
				t.Fatalf("faults %v, want %q", faults, test.want)
			}
			for i, f := range faults {
				if !strings.HasPrefix(f.Rule, test.want[i]) {
					t.Errorf("fault %q, want %q", f.Rule, test.want[i])
				}
			}
		})
	}
}

func TestFaultsSayWhere(t *testing.T) {
	got := Check([]Block{{7, "One leg fails.\nIt is\nread. That\nis all."}})
	if len(got) != 1 || got[0].String() != `9: opens with "that": That is all.` {
		t.Errorf("%v", got)
	}
}

func TestMarkdown(t *testing.T) {
	const page = `# A heading
Some text
on two lines.

| a table | is left out |
| --- | --- |
` + "```sh\nthat is code\n```" + `
* an item
  of two lines
* another
  1. a deeper one

> a quotation
<!-- a remark -->
`
	want := []Block{
		{1, "A heading"},
		{2, "Some text\non two lines."},
		{10, "an item\nof two lines"},
		{12, "another"},
		{13, "a deeper one"},
		{15, "a quotation"},
	}
	if diff := cmp.Diff(want, Markdown(page)); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
}

// TestFolder reads comments and help texts of a package in testdata.
func TestFolder(t *testing.T) {
	got, err := Folder("testdata/folder")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Block{
		"comments.go": {
			{1, "Package folder has comments of all kinds."},
			{5, "A list:"},
			{6, "one item\nof two lines"},
			{8, "another"},
			{10, "The end of it."},
			{13, "documented says\nmore than one line."},
			{18, "beside a field"},
			{19, "beside another"},
			{22, "a block\nof two lines"},
		},
		"help.go": {
			{9, "shared is in two texts."},
			{15, "A short one"},
			{16, "A long one,\non two lines. Shared text."},
			{19, "After it."},
			{27, "X and 5 %%"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "broken.go"), []byte("this is no Go\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(broken); err == nil {
		t.Error("a file that is no Go has no prose to check")
	}
}

func TestRatchet(t *testing.T) {
	r := Ratchet{"b.md": 12, "a.md": 3}
	if diff := cmp.Diff("  3 a.md\n 12 b.md\n", r.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	back, err := ParseRatchet(r.String())
	if err != nil || !cmp.Equal(r, back) {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{"3", "0 a.md", "-1 a.md", "x a.md", "1 a.md\n2 a.md", "\n"} {
		if _, err := ParseRatchet(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestRatchetOnlyGoesDown(t *testing.T) {
	r := Ratchet{"a.md": 3, "b.md": 2}
	tests := map[string]struct {
		found   Ratchet
		differ  int
		refused bool
	}{
		"the same":                 {Ratchet{"a.md": 3, "b.md": 2}, 0, false},
		"one more":                 {Ratchet{"a.md": 4, "b.md": 2}, 1, true},
		"one less":                 {Ratchet{"a.md": 2, "b.md": 2}, 1, false},
		"a file is clean":          {Ratchet{"a.md": 3}, 1, false},
		"a new file":               {Ratchet{"a.md": 3, "b.md": 2, "c.md": 1}, 1, true},
		"a file has another name":  {Ratchet{"a.md": 3, "c.md": 2}, 2, false},
		"one up, another one down": {Ratchet{"a.md": 4, "b.md": 1}, 2, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if differ := r.Differences(test.found); len(differ) != test.differ {
				t.Errorf("differences %q, want %d", differ, test.differ)
			}
			renewed, err := r.Renew(test.found)
			if (err != nil) != test.refused {
				t.Errorf("renewed: %v", err)
			}
			if err == nil && !cmp.Equal(renewed, test.found) {
				t.Errorf("renewed %v, want %v", renewed, test.found)
			}
		})
	}
}
