package eintr

import (
	"errors"
	"fmt"
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
