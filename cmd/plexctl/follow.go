package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// How often a wait shows progress.
const (
	barInterval  = 500 * time.Millisecond
	lineInterval = 5 * time.Second
)

// follow shows the progress of an operation until it ends, and then the LUN. If ctx ends first, the operation continues.
func (s *session) follow(ctx context.Context, operation *resync.Async) error {
	if err := s.watch(ctx, operation); err != nil {
		return interrupted(operation, err)
	}
	end, err := s.operation(context.WithoutCancel(ctx), operation)
	if err != nil {
		return err
	}
	doc, err := s.lun(context.WithoutCancel(ctx), operation.LUN.String())
	if err != nil {
		return err
	}
	return s.print(operationDocument{end, &doc}, s.lunTable(doc))
}

// interrupted turns an interrupt of a wait into an error that says how to come back.
func interrupted(operation *resync.Async, err error) error {
	if codeOf(err) != vds.ErrAbort {
		return err
	}
	hint := fmt.Sprintf("come back with `plexctl op wait %s`", operation.ID) // with the name of the LUN: see named
	if canCancel(operation.Type) {
		hint += fmt.Sprintf(", or end it with `plexctl op cancel %s`", operation.ID)
	}
	return &vds.Error{
		Code: vds.ErrAbort, Op: "wait for", Object: "operation " + operation.ID.String(), Reason: "interrupted; the operation goes on",
		Hint: hint,
	}
}

// watch polls an operation and shows its progress until it has ended.
func (s *session) watch(ctx context.Context, operation *resync.Async) error {
	show := s.newProgress()
	defer show.close()
	for shown := false; ; shown = true {
		status, err := operation.QueryStatus(ctx)
		doc := s.operationDoc(operation, status)
		if !status.Pending() {
			if status.Result == vds.OK && shown {
				show.update(doc)
			}
			return operation.Wait(context.WithoutCancel(ctx))
		}
		var props lun.Properties
		if err == nil {
			props, err = s.propertiesOf(ctx, operation)
		}
		if ctx.Err() != nil {
			return operation.Wait(ctx)
		}
		if err = cmp.Or(err, stalled(operation, props)); err != nil {
			return err
		}
		doc.limit(props)
		show.update(doc)
		select {
		case <-operation.Done():
		case <-ctx.Done():
		case <-s.after(show.interval):
		}
	}
}

// stalled returns an error if the LUN of an operation is not active, because then nothing is copied. A LUN without an
// operation has ended it since the last look, so the next look will show the end.
func stalled(operation *resync.Async, props lun.Properties) error {
	if props.Operation == nil || props.Device != "" {
		return nil
	}
	return &vds.Error{
		Code: vds.ErrInvalidOperation, Op: "wait for", Object: "operation " + operation.ID.String(),
		Reason: fmt.Sprintf("lun %q is not active, so nothing is copied", props.Name),
		Hint:   "`plexctl assemble " + props.Name + "` activates it, and the operation goes on",
	}
}

// begun shows an operation that was begun. With wait, or if nothing is left to copy, it shows the end of the operation.
// Otherwise it tells how to wait for it later.
func (s *session) begun(operation *resync.Async, wait bool) outcome {
	return func(ctx context.Context) error {
		doc, err := s.limitedOperation(context.WithoutCancel(ctx), operation)
		if err != nil {
			return err
		}
		if wait || !doc.pending() {
			return s.follow(ctx, operation)
		}
		s.note("%s; watch it with `plexctl op wait %s`", nextText(doc), operation.ID)
		return s.printOperation(doc)
	}
}

// printOperation shows one operation as a line.
func (p printer) printOperation(doc operationDoc) error {
	return p.print(operationDocument{Operation: doc}, p.operationTable(doc))
}

// nextText tells what a running operation does without the user.
func nextText(o operationDoc) string {
	switch {
	case o.Paused:
		return fmt.Sprintf("copying is paused until `plexctl op set-rate %s max`", o.ID)
	case o.State == resync.Queued:
		return fmt.Sprintf("copying waits for %s on the same drives, and begins when plexctl next looks after that", strings.Join(o.Behind, " and "))
	case o.State == resync.Checking:
		return "the kernel has copied everything, and its log does not tell how; the plexes have to be compared"
	default:
		return "copying goes on by itself"
	}
}

// progress shows how far an operation is.
type progress struct {
	update   func(operationDoc)
	interval time.Duration // from one update to the next
	close    func()
}

// newProgress shows lines on stdout with -o json, a bar on a terminal that knows its size, and else lines on stderr.
func (p printer) newProgress() progress {
	if !p.drawsBars() {
		return progress{p.progressLine, lineInterval, func() {}}
	}
	b := &bar{w: p.err, width: p.terminal.width}
	draw := func(o operationDoc) { b.draw(o.LUN.Name, o.Percent, operationText(o)) }
	return progress{draw, barInterval, b.close}
}

// drawsBars reports whether progress is shown as a bar.
func (p printer) drawsBars() bool {
	return p.format == formatText && p.terminal.err && p.terminal.width > 0
}

func (p printer) progressLine(o operationDoc) {
	if p.format == formatText || o.pending() { // with -o json the result tells of the end
		_ = p.say(operationDocument{Operation: o}, o.LUN.Name+": "+operationText(o)) // the result fails the same way
	}
}
