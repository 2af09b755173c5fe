package main

import (
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// schemaVersion is the version of all documents below. docs/json.md is their documentation. You may add fields within a
// version. To take one away, or to change its meaning, raise the version.
const schemaVersion = 1

// driveDoc is a drive, or a device that does not answer and may be one: nothing is known of its label then.
type driveDoc struct {
	ID            uuid.UUID      `json:"id,omitzero"`
	Path          string         `json:"path"`
	LastPath      string         `json:"lastPath,omitempty"`
	Size          size.Bytes     `json:"sizeBytes"`
	Free          size.Bytes     `json:"freeBytes"`
	Grown         size.Bytes     `json:"grownBytes,omitempty"`
	ReadOnly      bool           `json:"readOnly,omitempty"`
	LogicalBlock  size.Bytes     `json:"logicalBlockBytes"`
	PhysicalBlock size.Bytes     `json:"physicalBlockBytes"`
	Model         string         `json:"model,omitempty"`
	Serial        string         `json:"serial,omitempty"`
	Host          string         `json:"host,omitempty"`
	Foreign       bool           `json:"foreign"`
	State         lun.DriveState `json:"state"`
	Changed       bool           `json:"changed"`
	Rivals        []string       `json:"rivals"`
	Hardware      string         `json:"labelledAs,omitempty"`
	Identity      string         `json:"identity,omitempty"`
	Created       time.Time      `json:"created,omitzero"`
	LUNs          []string       `json:"luns"`
}

// driveRef names a drive. Path is empty when the drive is missing. The others are then what records say of it.
type driveRef struct {
	ID       uuid.UUID `json:"id"`
	Path     string    `json:"path,omitempty"`
	LastPath string    `json:"lastPath,omitempty"`
	Model    string    `json:"model,omitempty"`
	Serial   string    `json:"serial,omitempty"`
}

// lunRef names a LUN.
type lunRef struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// lunDoc is a LUN with its state.
type lunDoc struct {
	ID        uuid.UUID     `json:"id"`
	Name      string        `json:"name"`
	Size      size.Bytes    `json:"sizeBytes"`
	Type      vds.LUNType   `json:"type"`
	Status    vds.Status    `json:"status"`
	Health    vds.Health    `json:"health"`
	Device    string        `json:"device,omitempty"`
	Openers   int           `json:"openers"`
	Tracked   bool          `json:"tracked,omitempty"`
	Written   *size.Bytes   `json:"writtenBytes,omitempty"`
	Scanning  bool          `json:"scanning,omitempty"`
	Making    bool          `json:"making,omitempty"`
	Foreign   bool          `json:"foreign,omitempty"`
	Orphan    bool          `json:"orphan,omitempty"`
	Redundant bool          `json:"redundant,omitempty"`
	Mismatch  size.Bytes    `json:"mismatchBytes,omitempty"`
	Plexes    []plexDoc     `json:"plexes"`
	Resync    *resyncDoc    `json:"resync,omitempty"`
	Operation *operationDoc `json:"operation,omitempty"`
	Problems  []errorDoc    `json:"problems,omitempty"`
}

// scanDoc is how far a scan is.
type scanDoc struct {
	LUN     lunRef     `json:"lun"`
	Done    size.Bytes `json:"doneBytes"`
	Total   size.Bytes `json:"totalBytes"`
	Zero    size.Bytes `json:"zeroBytes"`
	Percent int        `json:"percent"`
}

// plexDoc is a plex with its state.
type plexDoc struct {
	ID     uuid.UUID   `json:"id"`
	Size   size.Bytes  `json:"sizeBytes"`
	Type   vds.LUNType `json:"type"`
	Status vds.Status  `json:"status"`
	Health vds.Health  `json:"health"`
	Drives []driveRef  `json:"drives"`

	Leaving bool `json:"leaving,omitempty"`
}

// resyncDoc is what the kernel is copying between the plexes of a LUN, whether an operation asked for it or a crash did.
type resyncDoc struct {
	Action  string     `json:"action"`
	Percent int        `json:"percent"`
	Done    size.Bytes `json:"doneBytes"`
	Total   size.Bytes `json:"totalBytes"`
}

// operationDoc is an operation with its state. Rate and ETA are 0, and left out, while they are unknown. Limit is 0 for
// one without a limit, and for a paused one.
type operationDoc struct {
	ID      uuid.UUID     `json:"id"`
	Type    vds.AsyncType `json:"type"`
	LUN     lunRef        `json:"lun"`
	Started time.Time     `json:"started"`
	State   resync.State  `json:"state"`
	Result  codeDoc       `json:"result"`
	Percent int           `json:"percent"`
	Done    size.Bytes    `json:"doneBytes"`
	Total   size.Bytes    `json:"totalBytes"`
	Rate    size.Bytes    `json:"bytesPerSecond,omitempty"`
	ETA     int64         `json:"etaSeconds,omitempty"`
	Limit   size.Bytes    `json:"limitBytesPerSecond,omitempty"`
	Paused  bool          `json:"paused,omitempty"`
	Behind  []string      `json:"behind,omitempty"`
}

// pending reports whether the operation has not ended.
func (d operationDoc) pending() bool { return d.Result.value == vds.ErrOperationPending }

// cancellable reports whether a cancel would take something back.
func (d operationDoc) cancellable() bool {
	return d.pending() && d.State != resync.Failed && canCancel(d.Type)
}

// canCancel reports whether operations of a type can be cancelled at all.
func canCancel(t vds.AsyncType) bool { return t == vds.AsyncAddLUNPlex }

// codeDoc is a VDS code by name and by number.
type codeDoc struct {
	value vds.Code

	Code    string `json:"code"`
	HResult string `json:"hresult"`
}

func newCode(code vds.Code) codeDoc {
	return codeDoc{value: code, Code: code.String(), HResult: code.Hex()}
}

// errorDoc is an error: its code, its text, and what to do about it.
type errorDoc struct {
	codeDoc
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Kind    string `json:"kind,omitempty"` // a word for what programs may want to tell apart
}

// resultDoc is the result for one LUN of a command that takes several.
type resultDoc struct {
	lunRef
	Changed bool      `json:"changed,omitempty"`
	Error   *errorDoc `json:"error,omitempty"`
}

// stepDoc is one step of a plan.
type stepDoc struct {
	Text   string   `json:"text"`
	Table  []string `json:"table,omitempty"`
	Undo   string   `json:"undo,omitempty"`
	Commit bool     `json:"commit"`
}

// checkDoc is one line of doctor.
type checkDoc struct {
	Name   string `json:"name"`
	Level  level  `json:"level"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// document is one line of output with one field, by its name. The version of the schema stands before it: see printer.encode.
type document map[string]any

// The documents of several fields.
type (
	plexesDocument struct {
		LUN       lunRef        `json:"lun"`
		Plexes    []plexDoc     `json:"plexes"`
		Operation *operationDoc `json:"operation,omitempty"`
	}
	operationDocument struct {
		Operation operationDoc `json:"operation"`
		LUN       *lunDoc      `json:"lun,omitempty"` // at the end of a wait
	}
	statusDocument struct {
		Summary    summary    `json:"summary"`
		DriveCount int        `json:"driveCount"`
		LUNs       []lunDoc   `json:"luns"`
		Problems   []errorDoc `json:"problems"`
	}
	resultsDocument struct {
		Results   []resultDoc `json:"results"`
		TakenOver []driveRef  `json:"takenOver,omitempty"`
	}
	refreshDocument struct {
		DriveCount int        `json:"driveCount"`
		LUNCount   int        `json:"lunCount"`
		Problems   []errorDoc `json:"problems"`
	}
	doctorDocument struct {
		OK     bool       `json:"ok"`
		Checks []checkDoc `json:"checks"`
	}
	versionDocument struct {
		Version  string `json:"version"`
		Commit   string `json:"commit,omitempty"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}
)
