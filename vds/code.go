// Package vds holds the result codes and enumerations of the Windows Virtual Disk Service that plexctl uses, and their
// text.
//
// It holds values and names only, and runs on any system. Numbers are those of the Windows SDK headers, also where
// Microsoft's pages differ.
package vds

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Code is an HRESULT. The high bit means failure. A Code is itself an error and can be the target of errors.Is:
// errors.Is(err, vds.ErrDeviceInUse).
type Code uint32

// Success codes.
const (
	OK                   Code = 0
	False                Code = 1
	PropertiesIncomplete Code = 0x00042715
)

// Failure codes of the COM base and of VDS that plexctl returns.
const (
	ErrAbort                     Code = 0x80004004
	ErrFail                      Code = 0x80004005
	ErrUnexpected                Code = 0x8000FFFF
	ErrOutOfMemory               Code = 0x8007000E
	ErrInvalidArg                Code = 0x80070057
	ErrNotSupported              Code = 0x80042400
	ErrAnotherCallInProgress     Code = 0x80042404
	ErrObjectNotFound            Code = 0x80042405
	ErrOperationPending          Code = 0x80042409
	ErrObjectDeleted             Code = 0x8004240B
	ErrCancelTooLate             Code = 0x8004240C
	ErrOperationCanceled         Code = 0x8004240D
	ErrNotEnoughSpace            Code = 0x8004240F
	ErrNotEnoughDrive            Code = 0x80042410
	ErrDeviceInUse               Code = 0x80042413
	ErrDiskNotEmpty              Code = 0x80042414
	ErrInvalidOperation          Code = 0x80042415
	ErrDiskNotInitialized        Code = 0x80042417
	ErrObjectExists              Code = 0x8004241D
	ErrProviderCacheCorrupt      Code = 0x8004241F
	ErrAccessDenied              Code = 0x80042427
	ErrMediaWriteProtected       Code = 0x80042428
	ErrIO                        Code = 0x8004242B
	ErrObjectStatusFailed        Code = 0x80042431
	ErrProviderFailure           Code = 0x80042442
	ErrTimeout                   Code = 0x8004245F
	ErrInvalidSectorSize         Code = 0x80042530
	ErrConfigLimit               Code = 0x80042538
	ErrDiskConfigurationCorrupt  Code = 0x80042539
	ErrDiskConfigurationNotSync  Code = 0x8004253A
	ErrDiskConfigurationNotSaved Code = 0x8004253B
	ErrPlexLastActive            Code = 0x80042548
	ErrNameNotUnique             Code = 0x80042701
)

var codeNames = names[Code]{
	OK:                           "S_OK",
	False:                        "S_FALSE",
	PropertiesIncomplete:         "VDS_S_PROPERTIES_INCOMPLETE",
	ErrAbort:                     "E_ABORT",
	ErrFail:                      "E_FAIL",
	ErrUnexpected:                "E_UNEXPECTED",
	ErrOutOfMemory:               "E_OUTOFMEMORY",
	ErrInvalidArg:                "E_INVALIDARG",
	ErrNotSupported:              "VDS_E_NOT_SUPPORTED",
	ErrAnotherCallInProgress:     "VDS_E_ANOTHER_CALL_IN_PROGRESS",
	ErrObjectNotFound:            "VDS_E_OBJECT_NOT_FOUND",
	ErrOperationPending:          "VDS_E_OPERATION_PENDING",
	ErrObjectDeleted:             "VDS_E_OBJECT_DELETED",
	ErrCancelTooLate:             "VDS_E_CANCEL_TOO_LATE",
	ErrOperationCanceled:         "VDS_E_OPERATION_CANCELED",
	ErrNotEnoughSpace:            "VDS_E_NOT_ENOUGH_SPACE",
	ErrNotEnoughDrive:            "VDS_E_NOT_ENOUGH_DRIVE",
	ErrDeviceInUse:               "VDS_E_DEVICE_IN_USE",
	ErrDiskNotEmpty:              "VDS_E_DISK_NOT_EMPTY",
	ErrInvalidOperation:          "VDS_E_INVALID_OPERATION",
	ErrDiskNotInitialized:        "VDS_E_DISK_NOT_INITIALIZED",
	ErrObjectExists:              "VDS_E_OBJECT_EXISTS",
	ErrProviderCacheCorrupt:      "VDS_E_PROVIDER_CACHE_CORRUPT",
	ErrAccessDenied:              "VDS_E_ACCESS_DENIED",
	ErrMediaWriteProtected:       "VDS_E_MEDIA_WRITE_PROTECTED",
	ErrIO:                        "VDS_E_IO_ERROR",
	ErrObjectStatusFailed:        "VDS_E_OBJECT_STATUS_FAILED",
	ErrProviderFailure:           "VDS_E_PROVIDER_FAILURE",
	ErrTimeout:                   "VDS_E_TIMEOUT",
	ErrInvalidSectorSize:         "VDS_E_INVALID_SECTOR_SIZE",
	ErrConfigLimit:               "VDS_E_CONFIG_LIMIT",
	ErrDiskConfigurationCorrupt:  "VDS_E_DISK_CONFIGURATION_CORRUPTED",
	ErrDiskConfigurationNotSync:  "VDS_E_DISK_CONFIGURATION_NOT_IN_SYNC",
	ErrDiskConfigurationNotSaved: "VDS_E_DISK_CONFIGURATION_UPDATE_FAILED",
	ErrPlexLastActive:            "VDS_E_PLEX_LAST_ACTIVE",
	ErrNameNotUnique:             "VDS_E_NAME_NOT_UNIQUE",
}

// FromWin32 is HRESULT_FROM_WIN32 of a Windows system error number.
func FromWin32(number uint16) Code { return 0x80070000 | Code(number) }

// Failed reports whether c is a failure.
func (c Code) Failed() bool { return c&0x80000000 != 0 }

// String is the name of c in the headers, or its number if this package has no name for it.
func (c Code) String() string {
	return cmp.Or(codeNames[c], c.Hex())
}

// Hex is c as the headers print it: "0x80042415".
func (c Code) Hex() string { return fmt.Sprintf("0x%08X", uint32(c)) }

// Error makes a Code usable with errors.Is. It is the same text as String.
func (c Code) Error() string { return c.String() }

// MarshalText writes the name of c, for catalogs and JSON output.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Code) UnmarshalText(text []byte) error {
	if code, ok := codeNames.value(text); ok {
		*c = code
		return nil
	}
	hex, ok := strings.CutPrefix(string(text), "0x")
	number, err := strconv.ParseUint(hex, 16, 32)
	if !ok || err != nil || len(hex) != 8 {
		return fmt.Errorf("result code %q: unknown", text)
	}
	*c = Code(number)
	return nil
}
