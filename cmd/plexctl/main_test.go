package main

import (
	"os"
	"testing"
)

// mainVar makes this test binary plexctl.
const mainVar = "PLEXCTL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVar) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A reader that goes away changes nothing: neither does a signal end plexctl, nor does its exit status become another one.
func TestNobodyReads(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status exit
	}{
		{[]string{"version"}, exitDone},
		{[]string{"version", "-o", "json"}, exitDone},
		{[]string{"lun", "--nonesuch"}, exitUsage},
		{[]string{"lun"}, exitUsage},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		files := []*os.File{os.Stdin, w, w}
		p, err := os.StartProcess(os.Args[0], append(os.Args[:1:1], tt.args...), &os.ProcAttr{Files: files, Env: append(os.Environ(), mainVar+"=1")})
		if err != nil {
			t.Fatal(err)
		}
		if state, err := p.Wait(); err != nil || state.ExitCode() != int(tt.status) {
			t.Errorf("plexctl %q: %v, %v, want exit status %d", tt.args, state, err, tt.status)
		}
		_ = w.Close()
	}
}
