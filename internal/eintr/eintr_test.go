package eintr

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRetry(t *testing.T) {
	calls := 0
	err := Retry(func() error {
		calls++
		if calls < 4 {
			return fmt.Errorf("wrapped: %w", unix.EINTR)
		}
		return unix.EIO
	})
	if calls != 4 || !errors.Is(err, unix.EIO) {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

// A signal ends a poll, unless the thread is shielded. The process gets it afterwards.
func TestShield(t *testing.T) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	defer signal.Stop(got)
	signalled := func() error {
		if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		_, err := unix.Poll(nil, 20)
		return err
	}
	if err := Shield(signalled); err != nil {
		t.Errorf("shielded: %v", err)
	}
	<-got
	var set unix.Sigset_t
	if err := Shield(func() error { return unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set) }); err != nil || set.Val[0]&(1<<(unix.SIGINT-1)) == 0 {
		t.Errorf("signals %x are blocked, %v", set.Val, err)
	}
}
