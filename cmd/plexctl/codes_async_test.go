package main

import (
	"strings"

	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

var ext4 = signature.Signature{Type: "ext4", Label: "data"}

// asyncCodes is what handles answer, and how operations end.
func asyncCodes() map[vds.Code]map[string]situation {
	return map[vds.Code]map[string]situation{
		vds.OK:                  {"recover_healthy": {happens(recoverHealthy)}},
		vds.ErrOperationPending: {"query_status": {happens(queryPending)}},
		vds.ErrOperationCanceled: {
			"wait": {
				keptOp("busy"),
				succeeds("op cancel busy --yes"),
				refused("op wait {op:busy}", waiting("busy")),
				happens(func(r *codeRig) { r.ended("busy") }),
			},
			"cancel_twice": {
				keptOp("busy"),
				happens(func(r *codeRig) { r.must("cancel", r.op("busy").Cancel(r.t.Context())) }),
				refused("op cancel {op:busy} --yes", canceling("busy")),
			},
		},
		vds.ErrObjectDeleted: {
			"wait": append(orphan(),
				happens(func(r *codeRig) { r.must("refresh", r.opHomes["busy"].Refresh(r.t.Context())) }),
				refusedCall(waiting("busy")), happens(func(r *codeRig) { r.ended("busy") }),
			),
			"cancel": append(orphan(), refusedCall(canceling("busy"))),
		},
		vds.ErrCancelTooLate: {
			"after_success": {
				succeeds("plex add web1 spare3 --yes --wait"),
				refused("op cancel web1 --yes", canceling("web1")),
			},
			"after_failure": {
				succeeds("op set-rate busy max"),
				happens(func(r *codeRig) { r.must("copy", r.kernel.Tick(1)) }),
				legFailed("busy", "sdd"),
				happens(func(r *codeRig) { r.plexctl("op wait busy") }),
				refused("op cancel busy --yes", canceling("busy")),
			},
		},
		vds.ErrNameNotUnique: {
			"cancel_name": {
				succeeds("plex add web1 spare3 --yes --rate paused"),
				mapped("plex-spare3"),
				refused("op cancel web1 --yes", canceling("web1")),
			},
		},
		vds.ErrNotSupported: {
			"cancel_recover": {succeeds("lun recover half"), refused("op cancel half --yes", canceling("half"))},
			"cancel_extend":  {succeeds("lun extend pairs --by 1MiB"), refused("op cancel pairs --yes", canceling("pairs"))},
		},
		vds.ErrTimeout: {"wait": {
			happens(func(r *codeRig) { r.speed = 0 }),
			refused("op wait busy --timeout 30ms", waiting("busy")),
			happens(func(r *codeRig) {
				if st := r.statusOf("busy"); !st.Pending() {
					r.wrong("the end of the wait has ended the operation: %+v", st)
				}
			}),
		}},
	}
}

// orphan is the handle of an operation whose LUN is gone.
func orphan() situation {
	return situation{
		keptOp("busy"), succeeds("op cancel busy --yes"), succeeds("lun delete busy --yes"),
	}
}

// ended notes a fault unless an operation has ended with the code, at 0 %.
func (r *codeRig) ended(name string) {
	r.t.Helper()
	if st := r.statusOf(name); st.Result != r.code || st.Percent != 0 {
		r.wrong("status %+v, want %v at 0 %%", st, r.code)
	}
}

// recoverHealthy recovers a mirror that has lost nothing, which is a handle that has ended, and no change.
func recoverHealthy(r *codeRig) {
	r.t.Helper()
	r.leavesAll("lun recover pairs", func() {
		op, err := r.lun("pairs").Recover(r.t.Context())
		r.must("recover", err)
		st, err := op.QueryStatus(r.t.Context())
		if err != nil || st.Result != r.code || st.Percent != 100 {
			r.wrong("status %+v, %v, want %v at 100 %%", st, err, r.code)
		}
		if got := r.plexctl("lun recover pairs"); got.status != int(documented(r.t)[r.code].Exit) {
			r.wrong("lun recover pairs: exit status %d\n%s", got.status, got.talk)
		}
	})
}

// queryPending looks at an operation that runs.
func queryPending(r *codeRig) {
	r.t.Helper()
	r.leavesAll("op show busy", func() {
		if st := r.statusOf("busy"); st.Result != r.code || st.State == resync.Done || st.Percent < 0 || st.Percent > 99 {
			r.wrong("status %+v, want %v", st, r.code)
		}
		for _, args := range []string{"op show busy -o json", "op list -o json"} {
			if got := r.plexctl(args); got.status != 0 || !strings.Contains(got.out, `"`+r.code.String()+`"`) {
				r.wrong("plexctl %s: exit status %d, does not say %v:\n%s", args, got.status, r.code, got.out)
			}
		}
	})
}
