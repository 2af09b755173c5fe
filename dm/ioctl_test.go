//go:build linux

package dm

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A swap is made on a thread that gets no signals, and other calls are not. The thread gets signals again afterwards.
func TestNoSignalInterruptsASwap(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	blocked := func() bool {
		var set unix.Sigset_t
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set); err != nil {
			t.Fatal(err)
		}
		for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGURG} {
			if set.Val[0]&(1<<(s-1)) == 0 {
				return false
			}
		}
		return true
	}
	for command, want := range map[uint]bool{unix.DM_DEV_SUSPEND: true, unix.DM_TABLE_LOAD: false, unix.DM_DEV_STATUS: false} {
		err := despiteSignals(command, func() error {
			if got := blocked(); got != want {
				t.Errorf("command %x: blocked %t, want %t", command, got, want)
			}
			return os.ErrInvalid
		})
		if err != os.ErrInvalid || blocked() { //nolint:errorlint // it is passed on as it is
			t.Errorf("command %x: %v, and afterwards blocked %t", command, err, blocked())
		}
	}
}
