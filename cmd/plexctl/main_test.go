package main

import (
	"os"
	"os/exec"
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
		cmd := exec.Command(os.Args[0], tt.args...)
		cmd.Env = append(os.Environ(), mainVar+"=1")
		cmd.Stdout, cmd.Stderr = w, w
		err = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != int(tt.status) {
			t.Errorf("plexctl %q: %v, exit status %d, want %d", tt.args, err, got, tt.status)
		}
		_ = w.Close()
	}
}
