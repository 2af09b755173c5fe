// Command plexctl makes LUNs of block devices and mirrors them while they are in use.
//
//	main.go, app.go      signals, streams, and the factory that tests replace
//	cli.go, root.go      the command line while it is parsed: the tree of commands and the flags that all have
//	session.go           a command at work: the host it works on, its questions, its dry run
//	lunextend.go, …      one file a command: its options, its constructor, its run function
//	print.go, json.go    the output: one document, shown as text or as JSON
//
// A constructor binds flags and arguments to options, a struct or one value. The run function gets a session and these options, and
// reads nothing else. It decides nothing about storage: package lun does. Scripts rely on docs/exit-codes.md and docs/json.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/plexctl/plexctl/lun"
)

// memoryGoal is from where on garbage is collected early, in bytes. The catalogs of a hostile drive stay below it; see TestHostileProblems.
const memoryGoal = 64 << 20

func main() {
	debug.SetMemoryLimit(memoryGoal)
	if slices.Equal(os.Args[1:], []string{readerName}) {
		os.Exit(serveReader())
	}
	if lun.BeGuard() {
		return
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away must not end a change half-way; see pipe
	// A change ends at its next safe point. SIGHUP is a terminal that goes away.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(newApp().run(ctx, os.Args[1:]))
}
