package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// fields are the JSON names of a struct's fields, embedded ones included, "?" after those that may be left out.
func fields(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		f := of.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		switch {
		case f.Anonymous:
			names = append(names, fields(f.Type)...)
		case tagged:
			name, options, _ := strings.Cut(tag, ",")
			if options == "omitempty" {
				name += "?"
			}
			names = append(names, name)
		}
	}
	return names
}

// page is the tables of docs/json.md: section to field names, "?" after optional ones.
func page(t testing.TB) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]string{}
	line := regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| (optional)?")
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		for _, m := range line.FindAllStringSubmatch(body, -1) {
			name := m[1]
			if m[2] != "" {
				name += "?"
			}
			sections[title] = append(sections[title], name)
		}
	}
	return sections
}

func TestJSONIsDocumented(t *testing.T) {
	want := map[string][]string{}
	for title, value := range map[string]any{
		"drive": driveDoc{}, "drive name": driveRef{}, "LUN name": lunRef{}, "LUN": lunDoc{}, "plex": plexDoc{},
		"resync": resyncDoc{}, "operation": operationDoc{}, "code": codeDoc{}, "error": errorDoc{}, "result": resultDoc{},
		"step": stepDoc{}, "check": checkDoc{}, "scan": scanDoc{},
	} {
		want[title] = fields(reflect.TypeOf(value))
	}
	got := page(t)
	delete(got, "words") // see TestJSONWordsAreDocumented
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/json.md differs from json.go (-code +page):\n%s", diff)
	}
}

// wordsOf is the words of every exported constant of a type in the Go files of a folder: the value of a text, or text of a number.
func wordsOf[T ~int32](t testing.TB, dir, kind string, text func(T) string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^\t([A-Za-z]\w*) +` + kind + ` += ("[^"]+"|\d+)`)
	var words []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(source), -1) {
			word := strings.Trim(m[2], `"`)
			if number, err := strconv.Atoi(word); err == nil {
				word = text(T(number))
			}
			if m[1] != "lower" { // of a device that is not listed
				words = append(words, word)
			}
		}
	}
	slices.Sort(words)
	return words
}

// TestJSONWordsAreDocumented holds the section of words against the constants of the code: each word, and no other.
func TestJSONWordsAreDocumented(t *testing.T) {
	want := map[string][]string{
		"`summary`":                 wordsOf(t, ".", "summary", vds.Status.String),
		"`status` of a LUN or plex": wordsOf(t, "../../vds", "Status", vds.Status.String),
		"`health` of a LUN or plex": wordsOf(t, "../../vds", "Health", vds.Health.String),
		"`type` of a LUN or plex":   wordsOf(t, "../../vds", "LUNType", vds.LUNType.String),
		"`type` of an operation":    wordsOf(t, "../../vds", "AsyncType", vds.AsyncType.String),
		"`state` of an operation":   wordsOf(t, "../../resync", "State", vds.Status.String),
		"`state` of a drive":        wordsOf(t, "../../lun/internal/host", "Standing", vds.Status.String),
		"`action` of a resync":      wordsOf(t, "../../dm", "Action", vds.Status.String),
		"`level` of a check":        wordsOf(t, ".", "level", vds.Status.String),
	}
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### words\n")
	got := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`\\w+`[^|]*) \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		for _, word := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(m[2], -1) {
			got[m[1]] = append(got[m[1]], word[1])
		}
		slices.Sort(got[m[1]])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the words of docs/json.md (-code +page):\n%s", diff)
	}
	for kind, words := range want {
		if len(words) < 3 {
			t.Errorf("%s: only %q were found in the code", kind, words)
		}
	}
}

func TestJSONDocumentsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{
		plexesDocument{},
		operationDocument{},
		statusDocument{},
		resultsDocument{},
		refreshDocument{},
		doctorDocument{},
		versionDocument{},
	} {
		names := fields(reflect.TypeOf(value))
		for _, name := range names {
			if !strings.Contains(string(text), "`"+strings.TrimSuffix(name, "?")+"`") {
				t.Errorf("docs/json.md does not have %s of %T", name, value)
			}
		}
	}
}

// TestJSONFieldsAreDocumented looks for the documents of one field, which are made in place.
func TestJSONFieldsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`document\{"(\w+)": [^,]*`).FindAllStringSubmatch(string(text), -1) {
			found++
			if !strings.Contains(string(page), "`"+m[1]+"`") {
				t.Errorf("docs/json.md does not have %s of %s", m[1], file)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d documents of one field, want all", found)
	}
}

func TestJSONOfALUN(t *testing.T) {
	id := uuid.MustParse("6f0c1c4e-1df2-4d0b-9a44-6e4a2b3c4d5e")
	doc := document{"lun": lunDoc{
		ID: id, Name: "web1", Size: 2 * size.GiB, Type: vds.TypeMirror, Status: vds.StatusOnline, Health: vds.HealthRebuilding,
		Device: "/dev/mapper/plex-web1", Openers: 1, Plexes: []plexDoc{},
		Operation: &operationDoc{
			ID: id, Type: vds.AsyncAddLUNPlex, LUN: lunRef{id, "web1"}, Started: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
			State: "running", Result: newCode(vds.ErrOperationPending), Percent: 41, Done: size.GiB, Total: 2 * size.GiB,
		},
		Problems: []errorDoc{newErrorDoc(&vds.Error{Code: vds.ErrObjectStatusFailed, Object: "drive x", Reason: "it is missing", Hint: "attach it"})},
	}}
	want := `{"schema":1,"lun":{"id":"6f0c1c4e-1df2-4d0b-9a44-6e4a2b3c4d5e","name":"web1","sizeBytes":2147483648,` +
		`"type":"mirror","status":"online","health":"rebuilding","device":"/dev/mapper/plex-web1","openers":1,"plexes":[],` +
		`"operation":{"id":"6f0c1c4e-1df2-4d0b-9a44-6e4a2b3c4d5e","type":"add-plex",` +
		`"lun":{"id":"6f0c1c4e-1df2-4d0b-9a44-6e4a2b3c4d5e","name":"web1"},"started":"2026-01-02T03:04:05.006Z",` +
		`"state":"running","result":{"code":"VDS_E_OPERATION_PENDING","hresult":"0x80042409"},"percent":41,` +
		`"doneBytes":1073741824,"totalBytes":2147483648},` +
		`"problems":[{"code":"VDS_E_OBJECT_STATUS_FAILED","hresult":"0x80042431","message":"drive x: it is missing","hint":"attach it"}]}}`
	var got strings.Builder
	if err := (printer{streams: streams{out: &got}}).encode(doc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want+"\n", got.String()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
