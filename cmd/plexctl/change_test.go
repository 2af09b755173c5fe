package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// leaves are the commands below cmd that do something, by their path.
func leaves(cmd *cobra.Command) map[string]*cobra.Command {
	found := map[string]*cobra.Command{}
	for _, sub := range cmd.Commands() {
		if !sub.HasSubCommands() {
			found[strings.TrimPrefix(sub.CommandPath(), "plexctl ")] = sub
		}
		for path, leaf := range leaves(sub) {
			found[path] = leaf
		}
	}
	return found
}

// TestEveryChangeHasADryRun lists the commands that change nothing: a new command has --dry-run or stands here.
func TestEveryChangeHasADryRun(t *testing.T) {
	reading := []string{
		"completion bash", "completion fish", "completion powershell", "completion zsh", "doctor", "drive list", "drive show",
		"lun list", "lun show", "op list", "op show", "op wait", "plex list", "refresh", "status", "version",
	}
	all := leaves(newRoot(newCLI(newApp())))
	for path, cmd := range all {
		dry := cmd.Flags().Lookup("dry-run") != nil
		if dry == slices.Contains(reading, path) {
			t.Errorf("%s: --dry-run is %t", path, dry)
		}
	}
	for _, path := range reading {
		if all[path] == nil {
			t.Errorf("there is no command %s", path)
		}
	}
}

// TestEveryDestructiveCommandAsks lists the commands that ask, each with --yes.
func TestEveryDestructiveCommandAsks(t *testing.T) {
	asking := []string{"assemble", "drive choose", "drive init", "drive remove", "drive repair", "drive take-over", "lun delete", "lun recover", "op cancel", "plex add", "plex remove"}
	for path, cmd := range leaves(newRoot(newCLI(newApp()))) {
		if asks := cmd.Flags().Lookup("yes") != nil; asks != slices.Contains(asking, path) {
			t.Errorf("%s: --yes is %t", path, asks)
		}
	}
}

// aPlan is a plan with every kind of step.
func aPlan() []lun.PlannedStep {
	return []lun.PlannedStep{
		{Text: "create device plex-web1-data1", Undo: "remove device plex-web1-data1"},
		{
			Text: "load table of plex-web1-data1", Table: "0 2048 linear 8:16 8192\n2048 30720 linear 8:32 8192\n",
			Undo: "remove device plex-web1-data1",
		},
		{Text: "commit: web1 has another plex", Commit: true},
		{Text: "activate plex-web1"},
	}
}

func TestPlanText(t *testing.T) {
	tests := []struct {
		name  string
		steps []lun.PlannedStep
		want  string
	}{
		{"nothing", nil, "nothing to do\n"},
		{"every kind of step", aPlan(), `  1. create device plex-web1-data1
      undo: remove device plex-web1-data1
  2. load table of plex-web1-data1
      0 2048 linear 8:16 8192
      2048 30720 linear 8:32 8192
      undo: remove device plex-web1-data1
  3. commit: web1 has another plex
      COMMIT POINT: cut off before it, nothing has changed; cut off after it, the next assemble completes the change
  4. activate plex-web1
`},
		{"two commits", []lun.PlannedStep{{Text: "commit: a plex is leaving", Commit: true}, {Text: "commit: it has left", Commit: true}}, `  1. commit: a plex is leaving
      COMMIT POINT: cut off before it, nothing has changed; cut off after it, the next assemble completes the change
  2. commit: it has left
      COMMIT POINT: cut off before or after it, the next assemble completes the change
`},
		{"a percent sign is text", []lun.PlannedStep{{Text: "100 %d", Table: "%s"}}, "  1. 100 %d\n      %s\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, planText(listOf(tt.steps, newStepDoc))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrintPlan(t *testing.T) {
	refused := &vds.Error{Code: vds.ErrDeviceInUse, Object: "x", Reason: "it is open", Hint: "close it"}
	one := []lun.PlannedStep{{Text: "resume"}}
	tests := []struct {
		name    string
		format  format
		steps   []lun.PlannedStep
		refused error
		want    string
	}{
		{"text", formatText, one, nil, "  1. resume\n"},
		{"JSON", formatJSON, one, nil, `{"schema":1,"plan":[{"text":"resume","commit":false}]}` + "\n"},
		{"every kind of step", formatJSON, aPlan(), nil, `{"schema":1,"plan":[` +
			`{"text":"create device plex-web1-data1","undo":"remove device plex-web1-data1","commit":false},` +
			`{"text":"load table of plex-web1-data1","table":["0 2048 linear 8:16 8192","2048 30720 linear 8:32 8192"],` +
			`"undo":"remove device plex-web1-data1","commit":false},` +
			`{"text":"commit: web1 has another plex","commit":true},` +
			`{"text":"activate plex-web1","commit":false}]}` + "\n"},
		{"nothing to do", formatText, nil, nil, "nothing to do\n"},
		{"nothing to do, as JSON", formatJSON, nil, nil, `{"schema":1,"plan":[]}` + "\n"},
		{"refused", formatText, nil, refused, ""},
		{"a part is refused", formatText, one, refused, "  1. resume\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			p := printer{streams: streams{out: &out}, format: tt.format}
			err := p.printPlan(tt.steps, tt.refused)
			if !errors.Is(err, tt.refused) || codeOf(err) != codeOf(tt.refused) || vds.HintOf(err) != vds.HintOf(tt.refused) {
				t.Errorf("error %v, want %v", err, tt.refused)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrintPlanFails(t *testing.T) {
	p := printer{streams: streams{out: full{}}, format: formatText}
	if err := p.printPlan(aPlan(), nil); err == nil {
		t.Error("a plan that could not be written is no error")
	}
}

func TestLUNExtendOptions(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name     string
		opts     lunExtendOptions
		by, size bool
		want     vds.Code
		growth   int
	}{
		{"by", lunExtendOptions{by: mib}, true, false, vds.OK, mib},
		{"to", lunExtendOptions{to: 17 * mib}, false, true, vds.OK, mib},
		{"to a byte more", lunExtendOptions{to: 16*mib + 1}, false, true, vds.OK, 1},
		{"neither", lunExtendOptions{}, false, false, vds.ErrInvalidArg, 0},
		{"both", lunExtendOptions{by: mib, to: 17 * mib}, true, true, vds.ErrInvalidArg, 0},
		{"both, one zero", lunExtendOptions{to: 17 * mib}, true, true, vds.ErrInvalidArg, 0},
		{"by nothing", lunExtendOptions{}, true, false, vds.ErrInvalidArg, 0},
		{"to nothing", lunExtendOptions{}, false, true, vds.ErrInvalidArg, 0},
		{"to what it has", lunExtendOptions{to: 16 * mib}, false, true, vds.ErrInvalidArg, 0},
		{"to less", lunExtendOptions{to: 15 * mib}, false, true, vds.ErrInvalidArg, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.ref = "web1"
			err := tt.opts.check(tt.by, tt.size)
			growth := 0
			if err == nil {
				more, refused := tt.opts.growth(16 * mib)
				growth, err = int(more), refused
			}
			if vds.CodeOf(err) != tt.want || growth != tt.growth {
				t.Errorf("%d and %v, want %d and %s", growth, err, tt.growth, tt.want)
			}
			if err != nil && (vds.HintOf(err) == "" || !strings.Contains(err.Error(), `"web1"`)) {
				t.Errorf("%v does not name the LUN, or has no hint", err)
			}
		})
	}
}
