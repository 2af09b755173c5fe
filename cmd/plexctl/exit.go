package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plexctl/plexctl/vds"
)

// exit is an exit status as an error. Whoever returns one has already told the user why.
type exit int

// Exit statuses. docs/exit-codes.md is their documentation; they never change.
const (
	exitDone        exit = 0
	exitOther       exit = 1
	exitUsage       exit = 2
	exitNotFound    exit = 3
	exitBusy        exit = 4
	exitInvalid     exit = 5
	exitFailed      exit = 6
	exitNoSpace     exit = 7
	exitPermission  exit = 8
	exitCanceled    exit = 9
	exitTimeout     exit = 10
	exitDegraded    exit = 20
	exitUnavailable exit = 21
	exitInactive    exit = 22
	exitInterrupted exit = 130 // 128 + SIGINT, as shells have it
)

// Error makes an exit an error.
func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitOf returns the exit status for a code.
func exitOf(code vds.Code) exit {
	for status, codes := range map[exit][]vds.Code{
		exitDone:     {vds.OK, vds.False, vds.PropertiesIncomplete},
		exitUsage:    {vds.ErrInvalidArg},
		exitNotFound: {vds.ErrObjectNotFound, vds.ErrObjectDeleted},
		exitBusy:     {vds.ErrAnotherCallInProgress, vds.ErrDeviceInUse, vds.ErrOperationPending},
		exitInvalid: {
			vds.ErrNotSupported, vds.ErrInvalidOperation, vds.ErrInvalidSectorSize, vds.ErrPlexLastActive,
			vds.ErrCancelTooLate, vds.ErrDiskNotEmpty, vds.ErrDiskNotInitialized, vds.ErrObjectExists, vds.ErrNameNotUnique,
			vds.ErrConfigLimit, vds.ErrMediaWriteProtected,
		},
		exitFailed: {
			vds.ErrObjectStatusFailed, vds.ErrIO, vds.ErrProviderCacheCorrupt, vds.ErrDiskConfigurationCorrupt,
			vds.ErrDiskConfigurationNotSync, vds.ErrDiskConfigurationNotSaved,
		},
		exitNoSpace:     {vds.ErrNotEnoughSpace, vds.ErrNotEnoughDrive},
		exitPermission:  {vds.ErrAccessDenied},
		exitCanceled:    {vds.ErrOperationCanceled},
		exitTimeout:     {vds.ErrTimeout},
		exitInterrupted: {vds.ErrAbort},
	} {
		if slices.Contains(codes, code) {
			return status
		}
	}
	return exitOther // E_FAIL, E_UNEXPECTED, E_OUTOFMEMORY, VDS_E_PROVIDER_FAILURE
}

// codeOf returns the code of an error. Only a signal cancels the context of a command.
func codeOf(err error) vds.Code {
	if errors.Is(err, context.Canceled) {
		return vds.ErrAbort
	}
	return vds.CodeOf(err)
}

// usage is an error of the command line itself.
func usage(hint, format string, args ...any) error {
	return &vds.Error{Code: vds.ErrInvalidArg, Reason: fmt.Sprintf(format, args...), Hint: hint}
}
