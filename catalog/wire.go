package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The JSON in a slot of format version 1 (docs/on-disk-format.md) is a list of LUNs. The names in it are the tags of LUN, Plex,
// Extent, Tombstone, Operation and Outcome. A Go name may change; that changes nothing on the drives. A change of a tag does,
// and so does a new field. It needs a new formatVersion, and types with the old tags to read the old one.
//
// The decoder refuses unknown fields. A plexctl that knows more fields writes a higher formatVersion, so an unknown field is
// damage. The next write would lose it.

// encodeBody is the JSON of a slot.
func encodeBody(luns []LUN) ([]byte, error) {
	text, err := json.Marshal(struct {
		LUNs []LUN `json:"luns"`
	}{luns})
	if err != nil {
		return nil, fmt.Errorf("encode catalog: %w", err)
	}
	return text, nil
}

// encodeRecord is one record as it stands in a slot. Records that say the same are equal as text.
func encodeRecord(l LUN) string {
	text, _ := json.Marshal(l) // a record that was read, or is about to be written, can be encoded
	return string(text)
}

// leastValue is the fewest bytes of text that a catalog of plexctl has for each of its values. Most values are GUIDs, and all
// have names. The limit bounds the memory that a slot takes. Without it, a drive that an attacker has prepared could exhaust
// the memory of a host.
const leastValue = 16

// decodeBody reads the JSON of a slot, an object with the one key "luns". It does not validate the records. The errors are
// ErrInvalid and, for more than MaxLUNs records, ErrFull.
func decodeBody(text []byte) ([]LUN, error) {
	if bytes.Count(text, []byte{','}) > len(text)/leastValue {
		return nil, invalid("catalog: %d bytes hold too many values", len(text))
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
			var l LUN
			if err := decoder.Decode(&l); err != nil {
				return nil, err
			}
			if err := l.checkCounts(); err != nil {
				return nil, err
			}
			luns = append(luns, l)
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

// checkCounts refuses a record with more of anything than one may have. It also refuses an operation in the source of an
// operation. Validate would check records in records, and name them in its error, once for each level.
func (l *LUN) checkCounts() error {
	if len(l.Plexes) > MaxPlexes || len(l.Absorbed) > MaxHistory || len(l.Former) > MaxHistory {
		return invalid("record of %d plexes, %d tombstones and %d former drives", len(l.Plexes), len(l.Absorbed), len(l.Former))
	}
	for _, p := range l.Plexes {
		if len(p.Data) > MaxExtents {
			return invalid("plex of %d data extents", len(p.Data))
		}
	}
	if l.Operation == nil {
		return nil
	}
	if len(l.Operation.Plexes) > MaxPlexes {
		return invalid("operation on %d plexes", len(l.Operation.Plexes))
	}
	source := l.Operation.Source
	if source == nil {
		return nil
	}
	if source.Operation != nil {
		return invalid("source of an operation, with an operation")
	}
	return source.checkCounts()
}
