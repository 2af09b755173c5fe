package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// How often a wait says how it stands.
const (
	barInterval  = 500 * time.Millisecond
	lineInterval = 5 * time.Second
)

// follow waits for the end of an operation and shows how it gets on, then the LUN. When ctx ends first, the operation
// goes on.
func (a *app) follow(ctx context.Context, w *world, operation *resync.Async) error {
	err := a.watch(ctx, w, operation)
	if err != nil {
		return goesOn(operation, err)
	}
	l, err := w.LUN(operation.LUN.String())
	if err != nil {
		return err
	}
	end, err := w.operation(context.WithoutCancel(ctx), operation)
	if err != nil {
		return err
	}
	doc, err := w.lun(context.WithoutCancel(ctx), l)
	if err != nil {
		return err
	}
	return a.print(operationDocument{newHeader(), end, &doc}, func(out io.Writer) error { return a.lunTable(out, []lunDoc{doc}) })
}

// goesOn turns an interrupt into an error that says how to come back.
func goesOn(operation *resync.Async, err error) error {
	if codeOf(err) != vds.ErrAbort {
		return err
	}
	hint := fmt.Sprintf("come back with `plexctl op wait %s`", operation.ID)
	if canCancel(operation.Type) {
		hint += fmt.Sprintf(", or end it with `plexctl op cancel %s`", operation.ID)
	}
	return &vds.Error{
		Code: vds.ErrAbort, Op: "wait for", Object: "operation " + operation.ID.String(), Reason: "interrupted; the operation goes on",
		Hint: hint,
	}
}

// watch looks at an operation again and again until it has ended.
func (a *app) watch(ctx context.Context, w *world, operation *resync.Async) error {
	show := a.newProgress()
	defer show.close()
	for shown := false; ; shown = true {
		status, err := operation.QueryStatus(ctx)
		doc := w.operationDoc(operation, status)
		if !status.Pending() {
			if status.Result == vds.OK && shown {
				show.update(doc)
			}
			return operation.Wait(context.WithoutCancel(ctx))
		}
		var props lun.Properties
		if err == nil {
			props, err = w.propertiesOf(ctx, operation)
		}
		if ctx.Err() != nil {
			return operation.Wait(ctx)
		}
		if err = cmp.Or(err, moving(operation, props)); err != nil {
			return err
		}
		doc.limit(props)
		show.update(doc)
		select {
		case <-operation.Done():
		case <-ctx.Done():
		case <-a.after(show.interval()):
		}
	}
}

// moving says why an operation cannot get on: the LUN it works on is not active. One without an operation has ended it since
// the look; the next look says how.
func moving(operation *resync.Async, props lun.Properties) error {
	if props.Operation == nil || props.Device != "" {
		return nil
	}
	return &vds.Error{
		Code: vds.ErrInvalidOperation, Op: "wait for", Object: "operation " + operation.ID.String(),
		Reason: fmt.Sprintf("lun %q is not active, so nothing is copied", props.Name),
		Hint:   "`plexctl assemble " + props.Name + "` activates it, and the operation goes on",
	}
}

// printBegun shows an operation that was begun: with wait, and when nothing is left to copy, its end, else how to come back.
func (a *app) printBegun(ctx context.Context, w *world, operation *resync.Async, wait bool) error {
	doc, err := w.limitedOperation(ctx, operation)
	if err != nil {
		return err
	}
	if wait || !doc.pending() {
		return a.follow(ctx, w, operation)
	}
	if a.format == formatText {
		fmt.Fprintf(a.err, "%s; watch it with `plexctl op wait %s`\n", prospect(doc), operation.ID)
	}
	return a.print(operationDocument{header: newHeader(), Operation: doc}, func(out io.Writer) error {
		return a.operationTable(out, []operationDoc{doc})
	})
}

// prospect is what a running operation does when it is left alone.
func prospect(o operationDoc) string {
	switch {
	case o.Paused:
		return fmt.Sprintf("copying is paused until `plexctl op set-rate %s max`", o.ID)
	case o.State == resync.Queued:
		return "another LUN is being rebuilt on the same drives; copying begins when plexctl next looks after that"
	default:
		return "copying goes on by itself"
	}
}

// progress shows how an operation gets on.
type progress interface {
	update(operationDoc)
	interval() time.Duration
	close()
}

// newProgress is JSON lines on stdout with -o json, a bar on a terminal that knows its size, else now and then a line on
// stderr.
func (a *app) newProgress() progress {
	switch {
	case a.format == formatJSON:
		return jsonLines{json.NewEncoder(a.out)}
	case a.terminal.err && a.terminal.width > 0:
		return newBar(a.err, a.terminal.width)
	default:
		return textLines{a.err}
	}
}

type textLines struct{ w io.Writer }

func (t textLines) update(o operationDoc) { fmt.Fprintf(t.w, "%s: %s\n", o.LUN.Name, operationText(o)) }

func (textLines) interval() time.Duration { return lineInterval }

func (textLines) close() {}

type jsonLines struct{ enc *json.Encoder }

func (j jsonLines) update(o operationDoc) {
	if !o.pending() {
		return // the result says it
	}
	_ = j.enc.Encode(operationDocument{header: newHeader(), Operation: o}) // the result at the end fails the same way
}

func (jsonLines) interval() time.Duration { return lineInterval }

func (jsonLines) close() {}

// bar is a progress bar with percent, amount, speed and time left as the operation itself reports them.
type bar struct {
	container *mpb.Progress
	line      *mpb.Bar
	last      atomic.Pointer[operationDoc]
}

func newBar(w io.Writer, width int) *bar {
	return &bar{container: mpb.New(
		mpb.WithOutput(w), mpb.WithWidth(width), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barInterval),
	)}
}

func (b *bar) update(o operationDoc) {
	b.last.Store(&o)
	if b.line == nil {
		b.line = b.container.AddBar(
			0, // with a total the bar would be done when all is copied, which is before the operation has ended
			mpb.PrependDecorators(decor.Name(o.LUN.Name)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return operationText(*b.last.Load()) })),
		)
	}
	b.line.SetTotal(int64(o.Total), false)
	b.line.SetCurrent(int64(o.Done))
}

func (*bar) interval() time.Duration { return barInterval }

// close draws the bar for the last time and leaves it on the screen.
func (b *bar) close() {
	if b.line != nil {
		b.line.Abort(false)
	}
	b.container.Wait()
}
