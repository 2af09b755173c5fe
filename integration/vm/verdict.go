package vm

import (
	"fmt"
	"strconv"
	"strings"
)

// The verdict is a line that the guest writes to a virtio port of its own just before its end:
//
//	exit 0    the exit status of the command
//	cut       the power is to be cut, now
//
// A machine that ends without one has failed, whatever it printed.

// verdictExit is the verdict on a command that ended.
func verdictExit(code int) string { return fmt.Sprintf("exit %d\n", code) }

// verdictCut is the verdict of a guest that cuts its power.
const verdictCut = "cut\n"

// verdictError is what came out of the port as Machine.Run returns it.
func verdictError(text string) error {
	if text == verdictCut {
		return ErrCut
	}
	status, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), "exit ")
	code, err := strconv.Atoi(status)
	switch {
	case !ok || err != nil:
		return ErrNoVerdict
	case code != 0:
		return ExitError{Code: code}
	}
	return nil
}
