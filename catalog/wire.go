package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// The types below are the JSON in a slot of format version 1 (docs/on-disk-format.md). The rest of the package works with
// types of its own: renaming a field there changes nothing on the drives. A change of a type here does. It needs a new
// slotFormat, and these types stay to read the old one.
//
// The decoder refuses unknown fields. A plexctl that knows more fields writes a higher slotFormat, so an unknown field is
// damage. The next write would lose it.

// bodyV1 is the JSON in a slot.
type bodyV1 struct {
	LUNs []lunV1 `json:"luns"`
}

type lunV1 struct {
	ID         uuid.UUID     `json:"id"`
	Name       string        `json:"name"`
	Size       size.Sectors  `json:"sectors"`
	Generation uint64        `json:"generation"`
	Behind     uint64        `json:"behind,omitempty"`
	Plexes     []plexV1      `json:"plexes"`
	RegionSize size.Sectors  `json:"regionSectors,omitempty"`
	MaxRate    uint64        `json:"maxRateKiB,omitempty"`
	Absorbed   []tombstoneV1 `json:"absorbed,omitempty"`
	Former     []uuid.UUID   `json:"formerDrives,omitempty"`
	Operation  *operationV1  `json:"operation,omitempty"`
	Last       *outcomeV1    `json:"lastOperation,omitempty"`
	Departure  *departureV1  `json:"departure,omitempty"`
	Wipe       bool          `json:"wipe,omitempty"`
	Making     bool          `json:"making,omitempty"`
	Deleted    bool          `json:"deleted,omitempty"`
	Copy       bool          `json:"copy,omitempty"`
	Scan       uuid.UUID     `json:"scan,omitzero"`
	BlockSize  size.Bytes    `json:"blockBytes,omitempty"`
	Host       string        `json:"host,omitempty"`
	Histories  []historyV1   `json:"histories,omitempty"`
	Devices    []deviceV1    `json:"devices,omitempty"`
}

type deviceV1 struct {
	Drive  uuid.UUID `json:"drive"`
	Path   string    `json:"path,omitempty"`
	Model  string    `json:"model,omitempty"`
	Serial string    `json:"serial,omitempty"`
}

type plexV1 struct {
	ID     uuid.UUID  `json:"id"`
	Data   []extentV1 `json:"data"`
	Meta   extentV1   `json:"meta"`
	Slot   Slot       `json:"slot"`
	Stale  bool       `json:"stale,omitempty"`
	Vacant bool       `json:"vacant,omitempty"`
	Run    runV1      `json:"run,omitzero"`
	Prior  bool       `json:"prior,omitempty"`
}

type runV1 struct {
	Number uint32 `json:"number"`
	Nonce  uint64 `json:"nonce,string"` // a string: not every reader of JSON has numbers of 64 bits
}

type historyV1 struct {
	ID   uuid.UUID `json:"id"`
	Last uint64    `json:"last,omitempty"`
}

type extentV1 struct {
	Drive  uuid.UUID    `json:"drive"`
	Start  size.Sectors `json:"start"`
	Length size.Sectors `json:"length"`
}

type tombstoneV1 struct {
	LUN        uuid.UUID `json:"lun"`
	Generation uint64    `json:"generation"`
}

type operationV1 struct {
	ID      uuid.UUID     `json:"id"`
	Type    vds.AsyncType `json:"type"`
	Started time.Time     `json:"started"`
	Plexes  []uuid.UUID   `json:"plexes"`
	Whole   bool          `json:"whole,omitempty"`
	Queued  bool          `json:"queued,omitempty"`
	Earlier bool          `json:"earlier,omitempty"`
	Source  *lunV1        `json:"source,omitempty"`
}

type departureV1 struct {
	Plexes    []plexV1     `json:"plexes"`
	Operation *operationV1 `json:"operation,omitempty"`
	Last      *outcomeV1   `json:"lastOperation,omitempty"`
	Made      *lunV1       `json:"made,omitempty"`
}

type outcomeV1 struct {
	ID      uuid.UUID     `json:"id"`
	Type    vds.AsyncType `json:"type"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Result  vds.Code      `json:"result"`
}

// encodeBody is the JSON of a slot.
func encodeBody(luns []LUN) ([]byte, error) {
	text, err := json.Marshal(bodyV1{LUNs: each(luns, toWire)})
	if err != nil {
		return nil, fmt.Errorf("encode catalog: %w", err)
	}
	return text, nil
}

// encodeRecord is one record as it stands in a slot. Records that say the same are equal as text.
func encodeRecord(l LUN) string {
	text, _ := json.Marshal(toWire(l)) // a record that was read, or is about to be written, can be encoded
	return string(text)
}

// leastValue is the fewest bytes of text that a catalog of plexctl has for each of its values. Most values are GUIDs, and all
// have names. The limit bounds the memory that a slot takes. Without it, a drive that an attacker has prepared could exhaust
// the memory of a host.
const leastValue = 18

// decodeBody reads the JSON of a slot, an object with the one key "luns". It does not validate the records. The errors are
// ErrInvalid and, for more than MaxLUNs records, ErrFull.
func decodeBody(text []byte) ([]LUN, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	luns, err := decodeRecords(decoder)
	if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrFull) {
		err = fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return luns, nil
}

// decodeRecords reads a body record by record. It checks the counts of each before the next one takes memory.
func decodeRecords(decoder *json.Decoder) ([]LUN, error) {
	list, err := openList(decoder)
	if err != nil {
		return nil, err
	}
	var luns []LUN
	if list {
		luns = []LUN{}
		for decoder.More() {
			if len(luns) == MaxLUNs {
				return nil, fmt.Errorf("more than %d records: %w", MaxLUNs, ErrFull)
			}
			var l lunV1
			if err := decoder.Decode(&l); err != nil {
				return nil, err
			}
			if err := l.checkLimits(); err != nil {
				return nil, err
			}
			luns = append(luns, toModel(l))
		}
		if err := expect(decoder, json.Delim(']')); err != nil {
			return nil, err
		}
	}
	if err := expect(decoder, json.Delim('}')); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("text after its end")
	}
	return luns, nil
}

// openList reads a body up to its first record. It reports false for null, the list of a catalog without records.
func openList(decoder *json.Decoder) (bool, error) {
	for _, want := range []json.Token{json.Delim('{'), "luns"} {
		if err := expect(decoder, want); err != nil {
			return false, err
		}
	}
	token, err := decoder.Token()
	if err != nil || token == nil {
		return false, err
	}
	if token != json.Delim('[') {
		return false, invalid("%v where a list should be", token)
	}
	return true, nil
}

// expect reads one token and fails if it is another one.
func expect(decoder *json.Decoder, want json.Token) error {
	token, err := decoder.Token()
	if err != nil || token == want {
		return err
	}
	if field, ok := token.(string); ok {
		return invalid("unknown field %q", field)
	}
	return invalid("%v where %v should be", token, want)
}

// checkLimits refuses a record with more of anything than one may have, and a generation that leaves no room above it. It also
// refuses records in records in records. Validate would check them all, and name each in its error.
func (l *lunV1) checkLimits() error {
	if len(l.Plexes) > MaxPlexes || len(l.Absorbed) > MaxHistory || len(l.Former) > MaxHistory || len(l.Histories) > MaxHistories || len(l.Devices) > MaxDevices {
		return invalid("record of %d plexes, %d tombstones, %d former drives, %d histories and %d devices",
			len(l.Plexes), len(l.Absorbed), len(l.Former), len(l.Histories), len(l.Devices))
	}
	if l.Generation > maxCount {
		return invalid("generation %d", l.Generation)
	}
	if err := checkExtents(l.Plexes); err != nil {
		return err
	}
	if err := l.Operation.checkLimits(); err != nil || l.Departure == nil {
		return err
	}
	return l.Departure.checkLimits()
}

// checkExtents refuses a plex with more extents than one may have.
func checkExtents(plexes []plexV1) error {
	for _, p := range plexes {
		if len(p.Data) > MaxExtents {
			return invalid("plex of %d data extents", len(p.Data))
		}
	}
	return nil
}

// checkLimits is lunV1.checkLimits for an operation, which may be nil.
func (o *operationV1) checkLimits() error {
	if o == nil {
		return nil
	}
	if len(o.Plexes) > MaxPlexes {
		return invalid("operation on %d plexes", len(o.Plexes))
	}
	return o.Source.checkInner("source of an operation")
}

// checkLimits is lunV1.checkLimits for a departure.
func (d *departureV1) checkLimits() error {
	if len(d.Plexes) > MaxPlexes {
		return invalid("departure from %d plexes", len(d.Plexes))
	}
	if err := checkExtents(d.Plexes); err != nil {
		return err
	}
	if err := d.Operation.checkLimits(); err != nil {
		return err
	}
	return d.Made.checkInner("lun of plexes that leave")
}

// checkInner is checkLimits for a record in a record, which may be nil and has none in it.
func (l *lunV1) checkInner(what string) error {
	if l == nil {
		return nil
	}
	if l.Operation != nil || l.Departure != nil {
		return invalid("%s, with an operation or a departure", what)
	}
	return l.checkLimits()
}

// each is f of each element. A nil slice stays nil: JSON tells the two apart.
func each[A, B any](in []A, f func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}

// maybe is f of what p points to, nil for nil.
func maybe[A, B any](p *A, f func(A) B) *B {
	if p == nil {
		return nil
	}
	b := f(*p)
	return &b
}

func toWire(l LUN) lunV1 {
	return lunV1{
		ID: l.ID, Name: l.Name, Size: l.Size, Generation: l.Generation, Behind: l.Behind, RegionSize: l.RegionSize, MaxRate: l.MaxRate,
		Plexes:    each(l.Plexes, plexToWire),
		Absorbed:  each(l.Absorbed, func(t Tombstone) tombstoneV1 { return tombstoneV1(t) }),
		Former:    l.Former,
		Operation: maybe(l.Operation, operationToWire),
		Last:      maybe(l.Last, func(o Outcome) outcomeV1 { return outcomeV1(o) }),
		Departure: maybe(l.Departure, func(d Departure) departureV1 {
			last := maybe(d.Last, func(o Outcome) outcomeV1 { return outcomeV1(o) })
			return departureV1{
				Plexes: each(d.Plexes, plexToWire), Operation: maybe(d.Operation, operationToWire), Last: last, Made: maybe(d.Made, toWire),
			}
		}),
		Wipe: l.Wipe, Making: l.Making, Deleted: l.Deleted, Copy: l.Copy, Scan: l.Scan, BlockSize: l.BlockSize, Host: l.Host,
		Histories: each(l.Histories, func(h History) historyV1 { return historyV1(h) }),
		Devices:   each(l.Devices, func(d Device) deviceV1 { return deviceV1(d) }),
	}
}

func plexToWire(p Plex) plexV1 {
	return plexV1{
		ID: p.ID, Data: each(p.Data, func(e Extent) extentV1 { return extentV1(e) }), Meta: extentV1(p.Meta),
		Slot: p.Slot, Stale: p.Stale, Vacant: p.Vacant, Run: runV1(p.Run), Prior: p.Prior,
	}
}

func operationToWire(o Operation) operationV1 {
	return operationV1{
		ID: o.ID, Type: o.Type, Started: o.Started, Plexes: o.Plexes, Whole: o.Whole, Queued: o.Queued, Earlier: o.Earlier,
		Source: maybe(o.Source, toWire),
	}
}

func toModel(l lunV1) LUN {
	return LUN{
		ID: l.ID, Name: l.Name, Size: l.Size, Generation: l.Generation, Behind: l.Behind, RegionSize: l.RegionSize, MaxRate: l.MaxRate,
		Plexes:    each(l.Plexes, plexToModel),
		Absorbed:  each(l.Absorbed, func(t tombstoneV1) Tombstone { return Tombstone(t) }),
		Former:    l.Former,
		Operation: maybe(l.Operation, operationToModel),
		Last:      maybe(l.Last, func(o outcomeV1) Outcome { return Outcome(o) }),
		Departure: maybe(l.Departure, func(d departureV1) Departure {
			last := maybe(d.Last, func(o outcomeV1) Outcome { return Outcome(o) })
			return Departure{
				Plexes: each(d.Plexes, plexToModel), Operation: maybe(d.Operation, operationToModel), Last: last, Made: maybe(d.Made, toModel),
			}
		}),
		Wipe: l.Wipe, Making: l.Making, Deleted: l.Deleted, Copy: l.Copy, Scan: l.Scan, BlockSize: l.BlockSize, Host: l.Host,
		Histories: each(l.Histories, func(h historyV1) History { return History(h) }),
		Devices:   each(l.Devices, func(d deviceV1) Device { return Device(d) }),
	}
}

func plexToModel(p plexV1) Plex {
	return Plex{
		ID: p.ID, Data: each(p.Data, func(e extentV1) Extent { return Extent(e) }), Meta: Extent(p.Meta),
		Slot: p.Slot, Stale: p.Stale, Vacant: p.Vacant, Run: Run(p.Run), Prior: p.Prior,
	}
}

func operationToModel(o operationV1) Operation {
	return Operation{
		ID: o.ID, Type: o.Type, Started: o.Started, Plexes: o.Plexes, Whole: o.Whole, Queued: o.Queued, Earlier: o.Earlier,
		Source: maybe(o.Source, toModel),
	}
}
