package vds

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestNumbers has the numbers of the Windows headers (vdserr.h, winerror.h), written down a second time.
func TestNumbers(t *testing.T) {
	tests := map[string]struct {
		code Code
		want uint32
	}{
		"S_OK":                           {OK, 0},
		"S_FALSE":                        {False, 1},
		"VDS_S_PROPERTIES_INCOMPLETE":    {PropertiesIncomplete, 0x00042715},
		"E_ABORT":                        {ErrAbort, 0x80004004},
		"E_FAIL":                         {ErrFail, 0x80004005},
		"E_INVALIDARG":                   {ErrInvalidArg, 0x80070057},
		"VDS_E_NOT_SUPPORTED":            {ErrNotSupported, 0x80042400},
		"VDS_E_ANOTHER_CALL_IN_PROGRESS": {ErrAnotherCallInProgress, 0x80042404},
		"VDS_E_OBJECT_NOT_FOUND":         {ErrObjectNotFound, 0x80042405},
		"VDS_E_CANCEL_TOO_LATE":          {ErrCancelTooLate, 0x8004240C},
		"VDS_E_OPERATION_CANCELED":       {ErrOperationCanceled, 0x8004240D},
		"VDS_E_NOT_ENOUGH_SPACE":         {ErrNotEnoughSpace, 0x8004240F},
		"VDS_E_DEVICE_IN_USE":            {ErrDeviceInUse, 0x80042413},
		"VDS_E_INVALID_OPERATION":        {ErrInvalidOperation, 0x80042415},
		"VDS_E_IO_ERROR":                 {ErrIO, 0x8004242B},
		"VDS_E_OBJECT_STATUS_FAILED":     {ErrObjectStatusFailed, 0x80042431},
		"VDS_E_PROVIDER_FAILURE":         {ErrProviderFailure, 0x80042442},
		"VDS_E_INVALID_SECTOR_SIZE":      {ErrInvalidSectorSize, 0x80042530},
		"VDS_E_PLEX_LAST_ACTIVE":         {ErrPlexLastActive, 0x80042548},
		"VDS_E_NAME_NOT_UNIQUE":          {ErrNameNotUnique, 0x80042701},
	}
	for name, tt := range tests {
		if uint32(tt.code) != tt.want || tt.code.String() != name || tt.code.Error() != name {
			t.Errorf("%s is %s, 0x%08X, want 0x%08X", name, tt.code, uint32(tt.code), tt.want)
		}
	}
}

// TestCodeNames goes through all codes: a name each, none twice, success and failure told apart, and text that comes back.
func TestCodeNames(t *testing.T) {
	seen := map[string]bool{}
	for code, name := range codeNames {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if failed := strings.Contains(name, "E_") && !strings.HasPrefix(name, "S_") && !strings.HasPrefix(name, "VDS_S_"); code.Failed() != failed {
			t.Errorf("%s: failed %t", name, code.Failed())
		}
		text, err := json.Marshal(code)
		if err != nil || string(text) != `"`+name+`"` {
			t.Errorf("%s is written as %s, %v", name, text, err)
		}
		var back Code
		if err := json.Unmarshal(text, &back); err != nil || back != code {
			t.Errorf("%s comes back as %s, %v", name, back, err)
		}
	}
}

func TestCodeWithoutName(t *testing.T) {
	const code = Code(0x8007ABCD)
	if got := code.String(); got != "0x8007ABCD" || got != code.Hex() {
		t.Errorf("%q", got)
	}
	var back Code
	if err := back.UnmarshalText([]byte("0x8007ABCD")); err != nil || back != code {
		t.Errorf("%s, %v", back, err)
	}
	if got := FromWin32(5); got != 0x80070005 || !got.Failed() {
		t.Errorf("error 5 is %s", got.Hex())
	}
	if got := FromWin32(0xffff); got != 0x8007FFFF {
		t.Errorf("error 65535 is %s", got.Hex())
	}
}

func TestCodeRefuses(t *testing.T) {
	for _, text := range []string{
		"", "E_FLY", "vds_e_io_error", "0x", "0x1", "0x8004242", "0x8004242BB", "0x8004242B ", "0x8004242Bx",
		"8004242B", "0X8004242B", "0x+004242B", "0x8004_42B", "2147750955",
	} {
		code := OK
		if err := code.UnmarshalText([]byte(text)); err == nil || code != OK || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q is taken for %s, error %v", text, code, err)
		}
	}
}

func FuzzCode(f *testing.F) {
	f.Add("VDS_E_IO_ERROR")
	f.Add("0x8004242B")
	f.Add("0x00000000")
	f.Fuzz(func(t *testing.T, text string) {
		var code, back Code
		if code.UnmarshalText([]byte(text)) != nil {
			return
		}
		again, err := code.MarshalText()
		if err != nil || back.UnmarshalText(again) != nil || back != code {
			t.Errorf("%q is %s, which comes back as %s", text, code.Hex(), back.Hex())
		}
	})
}

func TestErrorText(t *testing.T) {
	cause := errors.New("input/output error")
	tests := map[string]struct {
		err  Error
		want string
	}{
		"everything":     {Error{ErrIO, "add plex", `lun "a"`, "drive is gone", "plug it in", cause}, `add plex lun "a": drive is gone: input/output error`},
		"no reason":      {Error{Code: ErrIO, Op: "add plex", Object: `lun "a"`, Err: cause}, `add plex lun "a": input/output error`},
		"no cause":       {Error{Code: ErrIO, Op: "add plex", Object: `lun "a"`, Reason: "drive is gone"}, `add plex lun "a": drive is gone`},
		"operation only": {Error{Code: ErrIO, Op: "scan"}, "scan"},
		"object only":    {Error{Code: ErrIO, Object: "drive"}, "drive"},
		"cause only":     {Error{Code: ErrIO, Err: cause}, "input/output error"},
		"code only":      {Error{Code: ErrIO, Hint: "try again"}, "VDS_E_IO_ERROR"},
		"nothing":        {Error{}, "S_OK"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("outer: %w", &Error{Code: ErrIO, Op: "scan", Err: fmt.Errorf("inner: %w", cause)})
	if !errors.Is(err, ErrIO) || !errors.Is(err, cause) {
		t.Error("neither code nor cause may be lost")
	}
	if errors.Is(err, ErrFail) || errors.Is(err, OK) || errors.Is(err, errors.New("cause")) {
		t.Error("matches what it is not")
	}
	nested := &Error{Code: ErrFail, Err: &Error{Code: ErrIO}}
	if !errors.Is(nested, ErrFail) || !errors.Is(nested, ErrIO) {
		t.Error("both codes of nested errors match")
	}
}

func TestCodeOf(t *testing.T) {
	plain := errors.New("plain")
	tests := map[string]struct {
		err  error
		want Code
	}{
		"nil":                      {nil, OK},
		"plain":                    {plain, ErrFail},
		"error":                    {&Error{Code: ErrIO}, ErrIO},
		"wrapped":                  {fmt.Errorf("x: %w", &Error{Code: ErrIO}), ErrIO},
		"outermost of two":         {&Error{Code: ErrFail, Err: &Error{Code: ErrIO}}, ErrFail},
		"joined":                   {errors.Join(plain, &Error{Code: ErrIO}, &Error{Code: ErrTimeout}), ErrIO},
		"code as an error":         {ErrTimeout, ErrTimeout},
		"code, wrapped":            {fmt.Errorf("x: %w", ErrTimeout), ErrTimeout},
		"error before bare code":   {&Error{Code: ErrIO, Err: ErrTimeout}, ErrIO},
		"error whose code is none": {&Error{Op: "scan"}, ErrFail},
		"success as an error":      {False, ErrFail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := CodeOf(tt.err); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestHintOf(t *testing.T) {
	plain := errors.New("plain")
	tests := map[string]struct {
		err  error
		want string
	}{
		"nil":                     {nil, ""},
		"plain":                   {plain, ""},
		"none given":              {&Error{Code: ErrIO, Err: plain}, ""},
		"given":                   {&Error{Hint: "a"}, "a"},
		"wrapped":                 {fmt.Errorf("x: %w", &Error{Hint: "a"}), "a"},
		"outer has none":          {&Error{Err: fmt.Errorf("x: %w", &Error{Hint: "b"})}, "b"},
		"outer first":             {&Error{Hint: "a", Err: &Error{Hint: "b"}}, "a"},
		"joined, second has one":  {errors.Join(plain, &Error{Code: ErrIO}, &Error{Hint: "c"}), "c"},
		"joined, both have one":   {errors.Join(&Error{Hint: "b"}, &Error{Hint: "c"}), "b"},
		"joined below an error":   {&Error{Err: errors.Join(plain, &Error{Err: &Error{Hint: "d"}})}, "d"},
		"two wrapped at a time":   {fmt.Errorf("%w: %w", plain, &Error{Hint: "e"}), "e"},
		"join of nothing with it": {errors.Join(plain, plain), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := HintOf(tt.err); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
