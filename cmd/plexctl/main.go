// Command plexctl makes LUNs of block devices and mirrors them while they are in use.
//
//	main      streams, signals, exit status
//	app       what a run of plexctl talks to; tests put another world around it
//	drive.go, lun.go, plex.go, op.go, status.go, assemble.go, doctor.go, version.go   one noun each
//	json.go   the documents of -o json; the text output is made of the same values
//
// It decides nothing about storage: package lun does. See docs/exit-codes.md and docs/json.md for what scripts rely on.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with deferred calls. A signal, that of a terminal that goes away included, ends a change at its next safe
// point; after the first one a second ends the process at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	return newApp().run(ctx, os.Args[1:])
}
