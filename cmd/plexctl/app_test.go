package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// deaf is an input that never gives anything.
type deaf struct{}

func (deaf) Read([]byte) (int, error) { select {} }

func TestConfirm(t *testing.T) {
	terminals := terminal{in: true, err: true}
	tests := []struct {
		name     string
		yes      bool
		terminal terminal
		typed    string
		want     vds.Code
		asked    bool
	}{
		{"--yes", true, terminal{}, "", vds.OK, false},
		{"--yes at a terminal", true, terminals, "no\n", vds.OK, false},
		{"yes", false, terminals, "yes\n", vds.OK, true},
		{"yes without an end of line", false, terminals, "yes", vds.OK, true},
		{"yes with spaces", false, terminals, " yes \n", vds.OK, true},
		{"y", false, terminals, "y\n", vds.OK, true},
		{"Y", false, terminals, "Y\r\n", vds.OK, true},
		{"YES", false, terminals, "YES\n", vds.OK, true},
		{"n", false, terminals, "n\n", vds.ErrOperationCanceled, true},
		{"ye", false, terminals, "ye\n", vds.ErrOperationCanceled, true},
		{"nothing", false, terminals, "\n", vds.ErrOperationCanceled, true},
		{"yes, but", false, terminals, "yes but\n", vds.ErrOperationCanceled, true},
		{"the second line counts for nothing", false, terminals, "no\nyes\n", vds.ErrOperationCanceled, true},
		{"end of input", false, terminals, "", vds.ErrOperationCanceled, true},
		{"nobody to ask", false, terminal{}, "yes\n", vds.ErrInvalidArg, false},
		{"nobody to hear", false, terminal{in: true, out: true}, "yes\n", vds.ErrInvalidArg, false},
		{"nobody to answer", false, terminal{out: true, err: true}, "yes\n", vds.ErrInvalidArg, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var talk bytes.Buffer
			s := &session{printer: printer{streams: streams{in: strings.NewReader(tt.typed), err: &talk, terminal: tt.terminal}}, yes: tt.yes}
			err := s.confirm(t.Context(), "All is lost.\nThat too.")
			if got := vds.CodeOf(err); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if tt.want == vds.ErrInvalidArg && !strings.Contains(err.Error(), "All is lost. That too.") {
				t.Errorf("%q does not say what would be lost", err)
			}
			want := ""
			if tt.asked {
				want = "All is lost.\nThat too.\nGo on? [y/N] "
			}
			if diff := cmp.Diff(want, talk.String()); diff != "" {
				t.Errorf("question (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfirmAsksNothingInADryRun(t *testing.T) {
	var talk bytes.Buffer
	s := &session{printer: printer{streams: streams{in: deaf{}, err: &talk, terminal: terminal{in: true, err: true}}}, dryRun: true}
	if err := s.confirm(t.Context(), "All is lost."); err != nil || talk.Len() > 0 {
		t.Errorf("%v, and it said %q", err, talk.String())
	}
}

func TestConfirmInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &session{printer: printer{streams: streams{in: deaf{}, err: io.Discard, terminal: terminal{in: true, err: true}}}}
	if got := codeOf(s.confirm(ctx, "All is lost.")); got != vds.ErrAbort {
		t.Errorf("%s, want E_ABORT", got)
	}
}

func TestFormatOf(t *testing.T) {
	tests := []struct {
		name string
		args string
		want format
	}{
		{"none", "lun list", formatText},
		{"short", "lun list -o json", formatJSON},
		{"short in one word", "lun list -ojson", formatJSON},
		{"long", "--output json lun list", formatJSON},
		{"long in one word", "lun list --output=json", formatJSON},
		{"after an unknown flag", "lun --nope list -o json", formatJSON},
		{"after help", "-h -o json", formatJSON},
		{"text", "-o text", formatText},
		{"the last one counts", "-o json -o text", formatText},
		{"what it is not", "-o yaml", formatText},
		{"behind --", "lun show -- -o json", formatText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := formatOf(strings.Fields(tt.args), formatText); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestControlFault(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want vds.Code
	}{
		{"no privilege", &dm.Error{Op: "open", Err: fmt.Errorf("%w: needs root", os.ErrPermission)}, vds.ErrAccessDenied},
		{"no device-mapper", &dm.Error{Op: "open", Err: dm.ErrNotSupported}, vds.ErrNotSupported},
		{"anything else", errors.New("too many open files"), vds.ErrProviderFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := controlFault(tt.err)
			if !errors.Is(err, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%v is not %s because of %v", err, tt.want, tt.err)
			}
			if vds.HintOf(err) == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

func TestOperands(t *testing.T) {
	tests := []struct {
		name  string
		names string
		args  string
		want  string // the error; empty for none
	}{
		{"none", "", "", ""},
		{"one too many", "", "a", `unexpected argument "a"`},
		{"one", "LUN", "a", ""},
		{"one is missing", "LUN", "", "LUN is missing"},
		{"the second is missing", "LUN PLEX", "a", "PLEX is missing"},
		{"the third is too many", "LUN PLEX", "a b c", `unexpected argument "c"`},
		{"several", "DEVICE...", "a b c", ""},
		{"none of several", "DEVICE...", "", "DEVICE is missing"},
		{"any number", "[LUN...]", "", ""},
		{"any number, three", "[LUN...]", "a b c", ""},
		{"may be left out", "TARGET [SOURCE]", "a", ""},
		{"is not left out", "TARGET [SOURCE]", "a b", ""},
		{"may be left out, but not that", "TARGET [SOURCE]", "", "TARGET is missing"},
		{"may be left out, one too many", "TARGET [SOURCE]", "a b c", `unexpected argument "c"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := operands(strings.Fields(tt.names)...)(&cobra.Command{Use: "x"}, strings.Fields(tt.args)); err != nil {
				got = err.Error()
				if vds.CodeOf(err) != vds.ErrInvalidArg || vds.HintOf(err) == "" {
					t.Errorf("%v has the wrong code or no hint", err)
				}
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestFailedWrites proves that a result that could not be written is an error.
func TestFailedWrites(t *testing.T) {
	for _, args := range []string{"version", "version -o json", "doctor", "lun list"} {
		t.Run(args, func(t *testing.T) {
			s := newStage(t.TempDir())
			var talk bytes.Buffer
			a := s.app(full{}, &talk, func() {})
			if got := a.run(t.Context(), strings.Fields(args)); got != int(exitOther) {
				t.Errorf("exit status %d, want 1; stderr: %s", got, talk.String())
			}
		})
	}
}

// full is an output on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestVersionDocument(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v0.9.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	tests := []struct {
		name            string
		linked          string
		info            *debug.BuildInfo
		version, commit string
	}{
		{"a release", "v1.2.3", info, "v1.2.3", "abc"},
		{"go install", "", info, "v0.9.0", "abc"},
		{"nothing is known", "", &debug.BuildInfo{}, "(devel)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newVersionDocument(tt.linked, tt.info)
			if got.Version != tt.version || got.Commit != tt.commit {
				t.Errorf("%+v, want version %q and commit %q", got, tt.version, tt.commit)
			}
		})
	}
}

func TestLoggerLevel(t *testing.T) {
	for verbose, want := range map[bool]string{
		false: "plexctl: warning: w (lun web1, at 7): it has\\x1bfailed; twice\n",
		true:  "level=DEBUG msg=d\nlevel=WARN msg=w lun=web1 error=\"it has\\x1bfailed\\ntwice\" at=7\n",
	} {
		var talk bytes.Buffer
		c := newCLI(&app{streams: streams{err: &talk}})
		c.global.verbose = verbose
		log := c.logger()
		log.Log(t.Context(), slog.LevelDebug, "d")
		log.Log(t.Context(), slog.LevelWarn, "w", "lun", "web1", "error", errors.New("it has\x1bfailed\ntwice"), "at", 7)
		var got strings.Builder
		for line := range strings.Lines(talk.String()) {
			_, text, _ := strings.Cut(line, " ") // the time
			if !verbose {
				text = line
			}
			got.WriteString(text)
		}
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("verbose %t (-want +got):\n%s", verbose, diff)
		}
	}
}

func TestNewProgress(t *testing.T) {
	const bar, text, json = "", "one: ", `{"schema":1`
	tests := []struct {
		name     string
		format   format
		terminal terminal
		want     string
	}{
		{"pipe", formatText, terminal{}, text},
		{"terminal", formatText, terminal{err: true, width: 80}, bar},
		{"only stdout is a terminal", formatText, terminal{out: true, width: 80}, text},
		{"terminal without a size", formatText, terminal{err: true}, text},
		{"JSON in a pipe", formatJSON, terminal{}, json},
		{"JSON on a terminal", formatJSON, terminal{err: true, width: 80}, json},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, talk bytes.Buffer
			p := printer{streams: streams{out: &out, err: &talk, terminal: tt.terminal}, format: tt.format}
			got := p.newProgress()
			if tt.want == bar {
				got.close()
			} else {
				got.update(operationDoc{LUN: lunRef{Name: "one"}, Result: newCode(vds.ErrOperationPending)})
			}
			shown := out.String() + talk.String()
			if (got.interval == barInterval) != (tt.want == bar) || !strings.HasPrefix(shown, tt.want) {
				t.Errorf("every %s it shows %q, want %q", got.interval, shown, tt.want)
			}
		})
	}
}
