package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/internal/doctest"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// codesMessages holds what plexctl says in each situation: `$` is a command, `>` a call of the library whose message is
// not that of the command. Write it anew with -update.
const codesMessages = "testdata/codes.txt"

// allSituations is the situations of every call, by code and name. docs/vds.md has the same names.
func allSituations() map[string]situation {
	all := map[string]situation{}
	for _, part := range []map[vds.Code]map[string]situation{addCodes(), addDriveCodes(), plexCodes(), asyncCodes(), otherCodes()} {
		for code, situations := range part {
			for name, s := range situations {
				all[code.String()+"/"+name] = s
			}
		}
	}
	return all
}

// codeNamed is the code of that name.
func codeNamed(t testing.TB, name string) vds.Code {
	t.Helper()
	for code, row := range documented(t) {
		if row.Name == name {
			return code
		}
	}
	t.Fatalf("docs/exit-codes.md has no %s", name)
	return vds.OK
}

// TestCodes provokes, on a machine in memory, each code that the catalog, the records or the arguments alone decide, as
// TestCodes/CODE/name. TestCodes in integration provokes the codes that the kernel or a device decides; in a sweep it
// provokes these too.
func TestCodes(t *testing.T) {
	base := newCodeRig(t)
	base.do(codesMachine())
	all, want, got := allSituations(), sectionsOf(t, codesMessages), map[string]string{}
	var mu sync.Mutex // of got
	if *update {
		t.Cleanup(func() { writeSections(t, codesMessages, got) }) // after those that run in parallel
	}
	for name := range want {
		if all[name] == nil {
			t.Errorf("%s has messages of %s, which does not exist", codesMessages, name)
			continue
		}
		got[name] = want[name]
	}
	for name, steps := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, _ := strings.Cut(name, "/")
			r := base.fork(t, codeNamed(t, code))
			r.do(steps)
			for _, fault := range r.faults {
				t.Error(fault)
			}
			if diff := cmp.Diff(want[name], r.said.String()); diff != "" && !*update {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			mu.Lock()
			defer mu.Unlock()
			got[name] = r.said.String()
		})
	}
}

// TestCodesAreDocumented holds docs/vds.md against the situations: a row names every one of them, and no other.
func TestCodesAreDocumented(t *testing.T) {
	tests, err := doctest.CodeTests("../../docs/vds.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, is := range tests {
		if is.InMemory {
			named = append(named, is.Name)
		}
	}
	slices.Sort(named)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(allSituations())), slices.Compact(named)); diff != "" {
		t.Errorf("docs/vds.md (-situations +named):\n%s", diff)
	}
}

// TestCodesNotice proves that each situation would notice another code, and a change of a table or of a drive.
func TestCodesNotice(t *testing.T) {
	base := newCodeRig(t)
	base.do(codesMachine())
	spoilers := map[string]func(*codeRig){
		"another code":   func(r *codeRig) { r.code = vds.ErrUnexpected },
		"another device": func(r *codeRig) { r.meddle = addDevice },
		"another byte":   func(r *codeRig) { r.meddle = changeByte },
	}
	for name, steps := range allSituations() {
		for how, spoil := range spoilers {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				code, _, _ := strings.Cut(name, "/")
				r := base.fork(t, codeNamed(t, code))
				spoil(r)
				r.do(steps)
				if r.provoked == 0 || len(r.faults) < r.provoked {
					t.Errorf("%d faults in %d refusals", len(r.faults), r.provoked)
				}
			})
		}
	}
}

// addDevice and changeByte change something behind plexctl's back.
func addDevice(r *codeRig) {
	_, err := r.kernel.Create(r.t.Context(), fmt.Sprintf("stranger%d", r.provoked), "")
	r.must("create", err)
}

func changeByte(r *codeRig) {
	r.t.Helper()
	drives, err := r.mem.Scan(r.t.Context())
	r.must("scan", err)
	if len(drives) == 0 {
		addDevice(r)
		return
	}
	d, err := r.mem.Medium(drives[0].Dev)
	r.must("open", err)
	block := make([]byte, 4096)
	at := int64(20 * size.MiB) // nothing lies there
	_, err = d.ReadAt(block, at)
	r.must("read", err)
	block[7]++
	_, err = d.WriteAt(block, at)
	r.must("write", err)
}

// sectionsOf reads a file of sections, each under a line "# NAME".
func sectionsOf(t testing.TB, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq("\n"+string(text), "\n# ") {
		if name, body, ok := strings.Cut(section, "\n"); ok {
			sections[name] = body
		}
	}
	return sections
}

func writeSections(t testing.TB, path string, sections map[string]string) {
	t.Helper()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		all = append(all, "# "+name+"\n"+sections[name])
	}
	if err := os.WriteFile(path, []byte(strings.Join(all, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}
