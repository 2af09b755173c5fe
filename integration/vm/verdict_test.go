package vm

import (
	"errors"
	"testing"
)

func TestVerdictError(t *testing.T) {
	for _, tt := range []struct {
		text string
		want error
	}{
		{verdictExit(0), nil},
		{verdictExit(3), ExitError{Code: 3}},
		{verdictExit(137), ExitError{Code: 137}},
		{verdictCut, ErrCut},
		{"", ErrNoVerdict},
		{"exit", ErrNoVerdict},
		{"exit \n", ErrNoVerdict},
		{"exit 0 0\n", ErrNoVerdict},
		{"exit 0\nexit 0\n", ErrNoVerdict},
		{"cu", ErrNoVerdict},
		{"0\n", ErrNoVerdict},
	} {
		if got := verdictError(tt.text); !errors.Is(got, tt.want) {
			t.Errorf("verdictError(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}
