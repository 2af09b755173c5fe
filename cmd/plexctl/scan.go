package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// scan finds out what of a LUN is zero, and shows how it gets on. When ctx ends first the user learns how to go on.
func (a *app) scan(ctx context.Context, target *lun.LUN, opts lun.ScanOptions) error {
	if opts.Rate == lun.Paused {
		opts.Rate = lun.Unlimited // that is for the copy
	}
	var shown time.Time
	opts.Report = func(p lun.ScanProgress) {
		if time.Since(shown) < lineInterval && p.Done < p.Total {
			return
		}
		shown = time.Now()
		doc := scanDoc{LUN: lunRef{target.ID(), target.Name()}, Done: p.Done, Total: p.Total, Zero: p.Zero, Percent: int(100 * p.Done / p.Total)}
		if a.format == formatJSON {
			_ = json.NewEncoder(a.out).Encode(scanDocument{newHeader(), doc}) // the result at the end fails the same way
			return
		}
		fmt.Fprintf(a.err, "%s: scan %d %%, %s of %s, %s zero\n", target.Name(), doc.Percent, p.Done, p.Total, p.Zero)
	}
	err := target.Scan(ctx, opts)
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return &vds.Error{
		Code: vds.ErrAbort, Op: "scan", Object: fmt.Sprintf("lun %q", target.Name()), Reason: "interrupted; what was found is kept",
		Hint: fmt.Sprintf("the same command goes on with it, `plexctl op cancel %s` gives it up", target.Name()),
	}
}

// scanning is the LUN that ref names if a scan of it has begun, which no operation shows; else nil.
func (w *world) scanning(ctx context.Context, ref string) *lun.LUN {
	l, err := w.LUN(ref)
	if err != nil {
		return nil
	}
	if props, err := l.Properties(ctx); err != nil || !props.Scanning {
		return nil
	}
	return l
}

// endScan gives up a scan.
func endScan(ctx context.Context, a *app, w *world, l *lun.LUN) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := l.EndScan(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		doc, err := w.lun(ctx, l)
		if err != nil {
			return err
		}
		return a.done(lunDocument{newHeader(), doc}, "the scan of %s is given up", l.Name())
	}, nil
}
