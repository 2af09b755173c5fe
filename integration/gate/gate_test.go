package main

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
)

func TestTestsOf(t *testing.T) {
	const text = `package product

import "testing"

func TestMain(m *testing.M) {}

// TestPlain has nothing to say.
func TestPlain(t *testing.T) {}

// TestEvery runs everywhere.
//
//gate:kernels every
//gate:when harness
func TestEvery(t *testing.T) {}

func TestGuestScenario(t *testing.T) {}

func (r rig) TestMethod() {}

func helper() {}
`
	got, err := testsOf("product", "a_test.go", []byte(text))
	want := []test{{pkg: "product", name: "TestPlain"}, {pkg: "product", name: "TestEvery", kernels: "every", when: "harness"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(test{})); diff != "" || err != nil {
		t.Errorf("%v, tests (-want +got):\n%s", err, diff)
	}
}

func TestTestsOfRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":   "package p\n\n//gate:kernel every\nfunc TestA() {}\n",
		"unknown value": "package p\n\n//gate:kernels 6.1\nfunc TestA() {}\n",
		"no value":      "package p\n\n//gate:when\nfunc TestA() {}\n",
		"a scenario":    "package p\n\n//gate:kernels every\nfunc TestGuestA() {}\n",
		"a helper":      "package p\n\n//gate:kernels every\nfunc helper() {}\n",
		"no Go":         "packag p\n",
	} {
		t.Run(name, func(t *testing.T) {
			if all, err := testsOf("p", "a_test.go", []byte(text)); err == nil {
				t.Errorf("%v, want an error", all)
			}
		})
	}
}

// theTests are those of this repository.
func theTests(t *testing.T) []test {
	t.Helper()
	tests, err := findTests(filepath.Join(lab.Root(), "integration"))
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestEveryFolderIsKnown holds the folders of integration/ against those that the gate looks into: a folder that it does not
// know would never run.
func TestEveryFolderIsKnown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(lab.Root(), "integration", "*", "main_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{machinePackage}
	for _, file := range files {
		got = append(got, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(packages)), got); diff != "" {
		t.Errorf("folders (-known +there):\n%s", diff)
	}
}

// TestEveryTestRuns shows that each test of this repository runs on a kernel of the gate, and that the kernels that do not run
// everything run what can differ between them.
func TestEveryTestRuns(t *testing.T) {
	on := map[string]int{}
	for _, test := range theTests(t) {
		runs := 0
		for _, kernel := range []string{oldKernel, plainKernel, fullKernel} {
			if test.runsOn(kernel) {
				runs++
				on[kernel]++
			}
		}
		if runs == 0 {
			t.Errorf("%s runs on no kernel", test)
		}
	}
	if on[fullKernel] < 90 || on[plainKernel] < 20 || on[oldKernel] < 20 {
		t.Errorf("tests by kernel: %v, want 90 on %s and 20 on the others", on, fullKernel)
	}
	t.Log(on)
}

// TestJobs deals the tests of this repository out for several numbers of machines: each runs once on each of its kernels, and
// no machine gets much more to do than the others.
func TestJobs(t *testing.T) {
	byKernel, known := map[string][]test{}, times{}
	for i, test := range theTests(t) {
		for _, kernel := range []string{oldKernel, plainKernel, fullKernel} {
			if test.runsOn(kernel) {
				byKernel[kernel] = append(byKernel[kernel], test)
				known[kernel+" "+test.String()] = float64(i%7) * 5
			}
		}
	}
	for _, machines := range []int{1, 2, 3, 8, 64} {
		jobs := jobsOf(byKernel, known, machines)
		got := map[string][]test{}
		for i, j := range jobs {
			got[j.kernel] = append(got[j.kernel], j.tests...)
			if i > 0 && j.seconds > jobs[i-1].seconds {
				t.Errorf("%d machines: a job of %.0f s comes after one of %.0f s", machines, j.seconds, jobs[i-1].seconds)
			}
		}
		sum := 0.0
		for _, j := range jobs {
			sum += j.seconds
		}
		if span, least := makespan(jobs, machines), max(sum/float64(machines), jobs[0].seconds); span > 1.5*least {
			t.Errorf("%d machines: %.0f s, at least %.0f s are needed", machines, span, least)
		}
		sorted := func(byKernel map[string][]test) map[string][]string {
			names := map[string][]string{}
			for kernel, tests := range byKernel {
				for _, test := range tests {
					names[kernel] = append(names[kernel], test.String())
				}
				slices.Sort(names[kernel])
			}
			return names
		}
		if diff := cmp.Diff(sorted(byKernel), sorted(got)); diff != "" {
			t.Errorf("%d machines (-wanted +dealt out):\n%s", machines, diff)
		}
	}
}

// TestResults reads what test binaries print.
func TestResults(t *testing.T) {
	var log strings.Builder
	r := newResults(&log)
	for _, line := range []string{
		"\x16package product\n",
		"\x16=== RUN   TestGood\n", "\x16=== RUN   TestGood/one\n", "said by one\x16=== NAME  TestGood\n",
		"\x16    --- PASS: TestGood/one (0.50s)\n", "\x16--- PASS: TestGood (1.25s)\n",
		"\x16=== RUN   TestBad\n", "    a_test.go:3: wrong\n", "--- PASS: TestForged (0.00s)\n", "\x16--- FAIL: TestBad (0.10s)\n",
		"\x16=== RUN   TestIdle\n", "\x16--- SKIP: TestIdle (0.00s)\n", "\x16FAIL\n",
		"\x16package crash\n", "\x16=== RUN   TestLost\n", "panic: gone\n",
	} {
		if _, err := io.WriteString(r, line); err != nil {
			t.Fatal(err)
		}
	}
	r.missing([]test{{pkg: "product", name: "TestGood"}, {pkg: "crash", name: "TestLost"}, {pkg: "crash", name: "TestGood"}})
	want := []string{"product.TestBad: fail", "product.TestIdle: skip", "crash.TestLost: did not end", "crash.TestGood: did not end"}
	if diff := cmp.Diff(want, r.failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]float64{"product.TestGood": 1.25, "product.TestBad": 0.1, "product.TestIdle": 0}, r.ended); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	if r.passed != 2 {
		t.Errorf("%d tests passed, want 2", r.passed)
	}
	for text, want := range map[string]bool{"wrong": true, "panic: gone": true, "said by one": false} {
		if strings.Contains(r.broken.String(), text) != want || !strings.Contains(log.String(), text) {
			t.Errorf("%q is among the failures: %v, want %v; the log has to have it", text, !want, want)
		}
	}
	if strings.Contains(log.String(), marker) {
		t.Error("the log has markers")
	}
}

func TestTimes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "times")
	known, err := readTimes(file)
	if err != nil || len(known) > 0 {
		t.Fatalf("times without a file: %v, %v", known, err)
	}
	maps.Copy(known, times{"6.1 product.TestA": 3, "6.12 product.TestA": 7.5, "6.12 product.TestGone": 1})
	a, b := test{pkg: "product", name: "TestA"}, test{pkg: "product", name: "TestB"}
	if err := known.only([]test{a, b}).write(file); err != nil {
		t.Fatal(err)
	}
	again, err := readTimes(file)
	if diff := cmp.Diff(times{"6.1 product.TestA": 3, "6.12 product.TestA": 7.5}, again); diff != "" || err != nil {
		t.Errorf("%v, read again (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		kernel string
		test   test
		want   float64
	}{{"6.1", a, 3}, {"6.12+udev", a, 7.5}, {"6.1", b, unknownTime}} {
		if got := again.of(tt.kernel, tt.test); got != tt.want {
			t.Errorf("%s on %s: %v s, want %v", tt.test, tt.kernel, got, tt.want)
		}
	}
	for _, text := range []string{"6.1 product.TestA\n", "6.1 product.TestA soon\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if known, err := readTimes(file); err == nil {
			t.Errorf("%q: %v, want an error", text, known)
		}
	}
}

// emptyHarness is a folder with the files and folders of a harness.
func emptyHarness(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range slices.Concat(watched["harness"], watched["model"], []string{"integration/gate"}) {
		path := filepath.Join(root, name)
		if filepath.Ext(name) == "" {
			path = filepath.Join(path, "folder")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) != "" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// TestVerified changes files of a harness, and adds one.
func TestVerified(t *testing.T) {
	root := emptyHarness(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put := func(text string) { t.Helper(); write("scripts/vm.sh", text) }
	expect := func(want bool) {
		t.Helper()
		if got, err := verified(root); got["harness"] != want || err != nil {
			t.Errorf("verified: %v, %v, want %v", got, err, want)
		}
	}
	put("one")
	expect(false)
	if err := noteVerified(root, []string{"harness", "model"}); err != nil {
		t.Fatal(err)
	}
	expect(true)
	put("two")
	expect(false)
	put("one")
	expect(true)
	const file = "integration/vm/more.go"
	write(file, "package vm\n\n// one is a number.\nconst one = 1\n")
	expect(false)
	if err := noteVerified(root, []string{"harness", "model"}); err != nil {
		t.Fatal(err)
	}
	write(file, "package vm\n\nconst one = 1 // what is one?\n")
	expect(true)
	write(file, "package vm\n\nconst one = 2 // what is one?\n")
	expect(false)
}

// TestChoose shows which tests the flags choose.
func TestChoose(t *testing.T) {
	tests := []test{
		{pkg: "product", name: "TestScan"},
		{pkg: "product", name: "TestSplit", kernels: "every"},
		{pkg: "kernel", name: "TestOffload", kernels: "releases"},
		{pkg: "codes", name: "TestPage", kernels: "others"},
		{pkg: "codes", name: "TestAll", kernels: "bare"},
		{pkg: "measure", name: "TestHostPeers", kernels: "plain", when: "sweep"},
		{pkg: "harness", name: "TestLab", when: "harness"},
		{pkg: "vm", name: "TestBoot", when: "harness"},
		{pkg: "kernel", name: "TestLikeTheReal", when: "model", kernels: "old"},
	}
	root := emptyHarness(t)
	all := []string{oldKernel, plainKernel, fullKernel}
	check := func(o options, want map[string][]string) {
		t.Helper()
		byKernel, err := o.choose(root, tests)
		got := map[string][]string{}
		for kernel, chosen := range byKernel {
			for _, test := range chosen {
				got[kernel] = append(got[kernel], test.name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v (-want +got):\n%s", o, err, diff)
		}
	}
	check(options{kernels: all}, map[string][]string{
		oldKernel: {"TestSplit", "TestOffload", "TestPage", "TestLikeTheReal"}, plainKernel: {"TestSplit", "TestPage", "TestAll"},
		fullKernel: {"TestScan", "TestSplit", "TestOffload", "TestLab"}, noKernel: {"TestBoot"},
	})
	if err := noteVerified(root, []string{"harness", "model"}); err != nil {
		t.Fatal(err)
	}
	check(options{kernels: all}, map[string][]string{
		oldKernel: {"TestSplit", "TestOffload", "TestPage"}, plainKernel: {"TestSplit", "TestPage", "TestAll"}, fullKernel: {"TestScan", "TestSplit", "TestOffload"},
	})
	check(options{kernels: []string{"5.10"}}, map[string][]string{"5.10": {"TestScan", "TestSplit", "TestOffload", "TestAll"}})
	check(options{kernels: []string{"5.10"}, harness: true}, map[string][]string{
		"5.10": {"TestLab"}, noKernel: {"TestBoot"},
	})
	check(options{kernels: []string{oldKernel}, run: "Peers|Scan/all"}, map[string][]string{oldKernel: {"TestScan", "TestHostPeers"}})
	if _, err := (options{kernels: all, run: "TestNothing"}).choose(root, tests); err == nil {
		t.Error("no test matches, and there is no error")
	}
}

// TestCodesAreDocumented runs TestHostCodesAreDocumented, which needs no machine, where nobody waits for one. It is given a plexctl
// that it does not start, so that it builds none.
func TestCodesAreDocumented(t *testing.T) {
	const name = "TestHostCodesAreDocumented"
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-v", "-run", "^"+name+"$", "./integration/codes")
	cmd.Dir = lab.Root()
	cmd.Env = append(os.Environ(), lab.CommandVar+"=/bin/true")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("%v: %s", err, out)
	}
}
