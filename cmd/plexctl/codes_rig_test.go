package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// codeRig is the machine of one situation. Text that a step takes or leaves names an object by a symbol:
//
//	{web1}      the GUID of the LUN web1
//	{web1/sda}  the GUID of the plex of web1 on /dev/sda
//	{op:web1}   the GUID of an operation of web1
//	{sda}       the GUID of the drive /dev/sda
type codeRig struct {
	*stage
	t    testing.TB
	code vds.Code // the code to provoke

	ids     map[string]string // GUIDs by symbol, the newest where several had it
	symbols map[string]string // symbols by GUID
	luns    map[string]*lun.LUN
	ops     map[string]*resync.Async
	opHomes map[string]*lun.Provider // of ops

	provoked int
	said     strings.Builder // every refused command with its message
	faults   []string        // answers that were wrong
	meddle   func(*codeRig)  // not nil: changes something behind plexctl's back during each refusal
}

// newCodeRig is a rig without drives.
func newCodeRig(t testing.TB) *codeRig {
	r := &codeRig{
		stage: newStage(t.TempDir()), t: t,
		ids: map[string]string{}, symbols: map[string]string{}, luns: map[string]*lun.LUN{}, ops: map[string]*resync.Async{},
		opHomes: map[string]*lun.Provider{},
	}
	r.hosts = []string{codesHost}
	return r
}

// codesHost is the id of the machine.
const codesHost = "5ca1ab1e0ddba11c0ffee0fadeddecaf"

// fork is a rig whose machine is a copy of r's. Handles stay behind.
func (r *codeRig) fork(t testing.TB, code vds.Code) *codeRig {
	after := newCodeRig(t)
	after.kernel, after.mem = r.kernel.Fork()
	after.code = code
	for symbol, id := range r.ids {
		after.learn(symbol, id)
	}
	return after
}

func (r *codeRig) do(steps situation) {
	r.t.Helper()
	for _, s := range steps {
		s(r)
	}
}

// wrong notes a wrong answer.
func (r *codeRig) wrong(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// must ends the test when a step that is only preparation has failed.
func (r *codeRig) must(what string, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// provider is a Provider that lives as long as the test.
func (r *codeRig) provider() *lun.Provider {
	r.t.Helper()
	w, err := r.open(r.t.Context(), lun.Options{})
	r.must("open", err)
	r.t.Cleanup(w.close)
	return w.Provider
}

// lun is the LUN of that name: the handle that a step has kept, else a new one.
func (r *codeRig) lun(name string) *lun.LUN {
	r.t.Helper()
	if l := r.luns[name]; l != nil {
		return l
	}
	l, err := r.provider().LUN(name)
	r.must("find LUN", err)
	return l
}

// op is the operation of a LUN: the handle that a step has kept, else a new one.
func (r *codeRig) op(name string) *resync.Async {
	r.t.Helper()
	if op := r.ops[name]; op != nil {
		return op
	}
	op, err := r.provider().Operation(name)
	r.must("find operation", err)
	return op
}

// id is the GUID behind a symbol, which is written without braces here.
func (r *codeRig) id(symbol string) uuid.UUID {
	r.t.Helper()
	id, err := uuid.Parse(r.ids[symbol])
	r.must("symbol "+symbol, err)
	return id
}

func (r *codeRig) learn(symbol, id string) {
	r.ids[symbol] = id
	if r.symbols[id] == "" {
		r.symbols[id] = symbol
	}
}

// look learns the GUIDs of everything that there is now.
func (r *codeRig) look() {
	r.t.Helper()
	p := r.provider()
	defer p.Close() // a paused copy that is watched for long counts as stuck
	paths := map[uuid.UUID]string{}
	for _, d := range p.Drives() {
		paths[d.ID] = filepath.Base(d.Info.Path)
		r.learn(paths[d.ID], d.ID.String())
	}
	for _, l := range p.LUNs() {
		r.learn(l.Name(), l.ID().String())
		record, err := l.Record()
		if err != nil {
			continue // its records conflict
		}
		for _, plex := range record.Copies() {
			r.learn(l.Name()+"/"+paths[plex.Data[0].Drive], plex.ID.String())
		}
	}
	for _, op := range p.Operations() {
		if l, err := p.LUN(op.LUN.String()); err == nil {
			r.learn("op:"+l.Name(), op.ID.String())
		}
	}
}

// expand puts GUIDs in the place of symbols.
func (r *codeRig) expand(text string) string {
	r.t.Helper()
	return regexp.MustCompile(`\{[^}]+\}`).ReplaceAllStringFunc(text, func(symbol string) string {
		return r.id(strings.Trim(symbol, "{}")).String()
	})
}

// readable puts symbols in the place of GUIDs.
func (r *codeRig) readable(text string) string {
	text = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllStringFunc(text, func(id string) string {
		if symbol := r.symbols[id]; symbol != "" {
			return "{" + symbol + "}"
		}
		return id
	})
	return r.normalize(text)
}

// answer is what a run of plexctl leaves.
type answer struct {
	status    int
	out, talk string
}

// plexctl runs a command. Words are parted by spaces.
func (r *codeRig) plexctl(args string) answer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var out, talk bytes.Buffer
	status := r.app(&out, &talk, cancel).run(ctx, strings.Fields(r.expand(args)))
	return answer{status, out.String(), talk.String()}
}

// leavesAll does something that must leave every table and every byte, and after which every LUN can be looked at.
func (r *codeRig) leavesAll(what string, do func()) {
	r.t.Helper()
	r.provoked++
	before, was := r.devices(), r.mem.Fork()
	do()
	if r.meddle != nil {
		r.meddle(r)
	}
	if diff := cmp.Diff(before, r.devices()); diff != "" {
		r.wrong("%s: devices have changed (-before +after):\n%s", what, diff)
	}
	if changed := r.written(was); len(changed) > 0 {
		r.wrong("%s: %v have been written", what, changed)
	}
	for _, args := range []string{"lun list", "drive list", "op list"} {
		if got := r.plexctl(args); got.status != 0 {
			r.wrong("%s: then %s: exit status %d\n%s", what, args, got.status, got.talk)
		}
	}
}

// devices is every drive, and every table with the state of its device.
func (r *codeRig) devices() map[string]string {
	r.t.Helper()
	now := map[string]string{}
	devices, err := r.kernel.List(r.t.Context())
	r.must("list", err)
	for _, d := range devices {
		info, table, err := r.kernel.Observe(r.t.Context(), d.Name)
		r.must("observe", err)
		now[d.Name] = fmt.Sprintf("%s %s suspended=%t inactive=%t", d.UUID, table, info.Suspended, info.Inactive)
	}
	drives, err := r.mem.Scan(r.t.Context())
	r.must("scan", err)
	for _, d := range drives {
		now[d.Path] = d.Size.String()
	}
	return now
}

// written is every drive whose content is not what it was.
func (r *codeRig) written(was *blocktest.Mem) []string {
	r.t.Helper()
	drives, err := was.Scan(r.t.Context())
	r.must("scan", err)
	var changed []string
	for _, d := range drives {
		before, err := was.Medium(d.Dev)
		r.must("open", err)
		if now := before.In(r.mem); !now.Same(0, before, 0, int64(d.Size)) {
			changed = append(changed, d.Path)
		}
	}
	return changed
}

// refusedCommand runs a command for people and for programs, which must both be refused alike, and returns the message.
func (r *codeRig) refusedCommand(args string) string {
	r.t.Helper()
	text, program := r.plexctl("-v "+args), r.plexctl(args+" -o json")
	lines := strings.Split(strings.TrimSpace(program.out), "\n")
	var doc struct{ Error errorDoc }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &doc); err != nil {
		r.wrong("plexctl %s -o json: %v\n%s%s", args, err, program.out, program.talk)
		return ""
	}
	if doc.Error.Code != r.code.String() || doc.Error.HResult != r.code.Hex() {
		r.wrong("plexctl %s: %s %s, want %s %s: %s", args, doc.Error.Code, doc.Error.HResult, r.code, r.code.Hex(), doc.Error.Message)
	}
	want := fmt.Sprintf("plexctl: %s (%s, %s)\n", doc.Error.Message, r.code, r.code.Hex())
	if doc.Error.Hint != "" {
		want += "hint: " + doc.Error.Hint + "\n"
	}
	p := r.provider()
	defer p.Close()
	want = (&host{Provider: p}).named(want)
	if !strings.HasSuffix(text.talk, want) || text.out != "" {
		r.wrong("plexctl %s: people and programs are told different things:\n%s%s\nwant %s", args, text.out, text.talk, want)
	}
	if status := int(documented(r.t)[r.code].Exit); text.status != status || program.status != status {
		r.wrong("plexctl %s: exit status %d, as JSON %d, want %d", args, text.status, program.status, status)
	}
	message := said(doc.Error.Message, doc.Error.Hint)
	fmt.Fprintf(&r.said, "$ plexctl %s\n%s", args, r.readable(message))
	return message
}

// refusedCall makes a call. Its message is noted when it is not that of the command.
func (r *codeRig) refusedCall(c call, command string) {
	r.t.Helper()
	err := c.do(r.t.Context(), r)
	if got := vds.CodeOf(err); got != r.code {
		r.wrong("%s: %v, want %v: %v", c.text, got, r.code, err)
	}
	if err == nil {
		return
	}
	doc := newErrorDoc(err)
	if message := said(doc.Message, doc.Hint); message != command {
		fmt.Fprintf(&r.said, "> %s\n%s", c.text, r.readable(message))
	}
}

// said is a message with its hint.
func said(message, hint string) string {
	if hint == "" {
		return message + "\n"
	}
	return message + "\nhint: " + hint + "\n"
}
