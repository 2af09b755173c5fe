package catalog

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/vds"
)

// fill sets everything that v leads to, pointers and slices of one element included, to something that is not zero. depth
// bounds types that contain themselves.
func fill(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *uuid.UUID:
		*x = lunID(7)
		return
	case *time.Time:
		*x = testTime
		return
	case *vds.AsyncType:
		*x = vds.AsyncAddLUNPlex
		return
	case *vds.Code:
		*x = vds.ErrIO
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), depth)
		}
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.SetUint(7)
	}
}

// TestWireHasEverything has a record without a zero in it. Each of its fields is in the JSON and comes back.
func TestWireHasEverything(t *testing.T) {
	var l LUN
	fill(reflect.ValueOf(&l).Elem(), 2)
	l.Operation.Source.Operation, l.Departure.Made.Operation = nil, nil // none is written
	l.Departure.Operation.Source = &LUN{Name: "text"}
	text, err := encodeBody([]LUN{l})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeBody(text)
	if diff := cmp.Diff([]LUN{l}, got); err != nil || diff != "" {
		t.Errorf("%v, record (-want +got):\n%s", err, diff)
	}
}

// TestWireKeepsNil expects lists without elements to stay what they are: the bytes on a drive tell null from [].
func TestWireKeepsNil(t *testing.T) {
	for _, text := range []string{
		`{"luns":null}`,
		`{"luns":[]}`,
		`{"luns":[{"id":"01000000-0000-0000-0000-000000000001","name":"a","sectors":1,"generation":1,"plexes":null}]}`,
		`{"luns":[{"id":"01000000-0000-0000-0000-000000000001","name":"a","sectors":1,"generation":1,"plexes":[]}]}`,
	} {
		luns, err := decodeBody([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		again, err := encodeBody(luns)
		if err != nil || string(again) != text {
			t.Errorf("%v, %s becomes %s", err, text, again)
		}
	}
}

func TestDecodeBodyRefuses(t *testing.T) {
	list := func(n int, element string) string { return strings.TrimSuffix(strings.Repeat(element+",", n), ",") }
	id := `"01000000-0000-0000-0000-000000000001"`
	record := func(more string) string { return `{"luns":[{"id":` + id + `,` + more + `}]}` }
	tombstone, extent := `{"lun":`+id+`,"generation":1}`, `{"drive":`+id+`,"start":1,"length":1}`
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"nothing":                     {``, ErrInvalid},
		"null":                        {`null`, ErrInvalid},
		"no key":                      {`{}`, ErrInvalid},
		"another key":                 {`{"LUNS":[]}`, ErrInvalid},
		"the key twice":               {`{"luns":[],"luns":[]}`, ErrInvalid},
		"a list":                      {`[]`, ErrInvalid},
		"no list":                     {`{"luns":{}}`, ErrInvalid},
		"text behind":                 {`{"luns":[]} 1`, ErrInvalid},
		"no end":                      {`{"luns":[]`, ErrInvalid},
		"no end of the list":          {`{"luns":[`, ErrInvalid},
		"no record":                   {`{"luns":[1]}`, ErrInvalid},
		"unknown field":               {record(`"colour":1`), ErrInvalid},
		"unknown field, deep":         {record(`"plexes":[{"colour":1}]`), ErrInvalid},
		"too many records":            {`{"luns":[` + list(MaxLUNs+1, `{"id":`+id+`}`) + `]}`, ErrFull},
		"too many plexes":             {record(`"plexes":[` + list(MaxPlexes+1, `{"id":`+id+`}`) + `]`), ErrInvalid},
		"too many extents":            {record(`"plexes":[{"data":[` + list(MaxExtents+1, extent) + `]}]`), ErrInvalid},
		"too many tombstones":         {record(`"absorbed":[` + list(MaxHistory+1, tombstone) + `]`), ErrInvalid},
		"too many former drives":      {record(`"formerDrives":[` + list(MaxHistory+1, id) + `]`), ErrInvalid},
		"too many plexes to fill":     {record(`"operation":{"plexes":[` + list(MaxPlexes+1, id) + `]}`), ErrInvalid},
		"too many in the source":      {record(`"operation":{"source":{"formerDrives":[` + list(MaxHistory+1, id) + `]}}`), ErrInvalid},
		"too many that leave":         {record(`"departure":{"plexes":[` + list(MaxPlexes+1, `{"id":`+id+`}`) + `]}`), ErrInvalid},
		"too many extents that leave": {record(`"departure":{"plexes":[{"data":[` + list(MaxExtents+1, extent) + `]}]}`), ErrInvalid},
		"too many to fill before":     {record(`"departure":{"operation":{"plexes":[` + list(MaxPlexes+1, id) + `]}}`), ErrInvalid},
		"too many in what is made":    {record(`"departure":{"made":{"formerDrives":[` + list(MaxHistory+1, id) + `]}}`), ErrInvalid},
		"departures in departures":    {record(`"departure":{"made":{"departure":{}}}`), ErrInvalid},
		"a departure in a source":     {record(`"operation":{"source":{"departure":{}}}`), ErrInvalid},
		"operations in departures":    {record(`"departure":{"operation":{"source":{"operation":{}}}}`), ErrInvalid},
		"operations in operations":    {record(`"operation":{"source":{"operation":{"id":` + id + `}}}`), ErrInvalid},
		"more values than it can be":  {`{"luns":[` + list(maxBody/4, `{}`) + `]}`, ErrInvalid},
	} {
		if luns, err := decodeBody([]byte(tt.text)); luns != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d records, %v, want %v", name, len(luns), err, tt.want)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error text of %d bytes", name, len(err.Error()))
		}
	}
}

// TestDecodeBodyTakesLittle has slots that were made to exhaust memory: as many elements as their text can hold, of each
// kind, and as few bytes for each as pass.
func TestDecodeBodyTakesLittle(t *testing.T) {
	const limit = 96 << 20 // most of which is garbage at once
	for _, frame := range []string{
		`{"luns":[%s]}`, `{"luns":[{"plexes":[%s]}]}`, `{"luns":[{"plexes":[{"data":[%s]}]}]}`, `{"luns":[{"absorbed":[%s]}]}`,
		`{"luns":[{"formerDrives":[%s]}]}`, `{"luns":[{"operation":{"plexes":[%s]}}]}`, `{"luns":[{"operation":{"source":{"plexes":[%s]}}}]}`,
		`{"luns":[{"departure":{"plexes":[%s]}}]}`, `{"luns":[{"departure":{"made":{"absorbed":[%s]}}}]}`,
	} {
		for _, element := range []string{`{}`, `null`, `0`, `{             }`, `           null`, `              0`} {
			n := (maxBody - len(frame)) / (len(element) + 1)
			text := []byte(fmt.Sprintf(frame, strings.Repeat(element+",", n-1)+element))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decodeBody(text)
			runtime.ReadMemStats(&after)
			if taken := after.TotalAlloc - before.TotalAlloc; err == nil || taken > limit {
				t.Errorf("%s of %d times %q: %d MiB, error %v", frame, n, element, taken>>20, err)
			}
		}
	}
	deep := strings.Repeat(`{"operation":{"source":`, maxBody/24) // ends in the middle
	if _, err := decodeBody([]byte(`{"luns":[` + deep)); !errors.Is(err, ErrInvalid) {
		t.Errorf("records in records: %v", err)
	}
}
