package vm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSortTests(t *testing.T) {
	names := []string{"TestLoop", "TestHostCut", "TestGuestCut", "BenchmarkWrite", "FuzzTable"}
	for _, tt := range []struct {
		name      string
		flags     map[string]string
		runKernel bool
		runHost   bool
	}{
		{"no flags", nil, true, true},
		{"kernel test", map[string]string{"test.run": "Loop"}, true, false},
		{"host test", map[string]string{"test.run": "^TestHost"}, false, true},
		{"both", map[string]string{"test.run": "Loop|Host"}, true, true},
		{"scenario", map[string]string{"test.run": "TestGuestCut"}, false, false},
		{"nothing", map[string]string{"test.run": "Plexless"}, false, false},
		{"subtest of a kernel test", map[string]string{"test.run": "TestLoop/4096"}, true, false},
		{"subtest of a host test", map[string]string{"test.run": "TestHostCut/6.1"}, false, true},
		{"kernel tests skipped", map[string]string{"test.skip": "Loop|Fuzz"}, false, true},
		{"host tests skipped", map[string]string{"test.skip": "^TestHost"}, true, false},
		{"subtest skipped", map[string]string{"test.skip": "TestHostCut/6.1", "test.run": "Host"}, false, true},
		{"benchmark", map[string]string{"test.run": "^$", "test.bench": "."}, true, false},
		{"another benchmark", map[string]string{"test.run": "^$", "test.bench": "Read"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sortTests(names, func(flag string) string { return tt.flags[flag] })
			if err != nil {
				t.Fatal(err)
			}
			want := selection{
				kernel:    []string{"TestLoop", "BenchmarkWrite", "FuzzTable"},
				host:      []string{"TestHostCut"},
				scenarios: []string{"TestGuestCut"},
				runKernel: tt.runKernel,
				runHost:   tt.runHost,
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(selection{})); diff != "" {
				t.Errorf("selection (-want +got):\n%s", diff)
			}
		})
	}
	for _, flag := range []string{"test.run", "test.skip"} {
		if _, err := sortTests(names, func(f string) string { return map[string]string{flag: "("}[f] }); err == nil {
			t.Errorf("a broken pattern for %s was taken", flag)
		}
	}
}
