package catalog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func TestLUNValidate(t *testing.T) {
	tests := map[string]func(*LUN){
		"every field":            func(*LUN) {},
		"no operation":           func(l *LUN) { l.Operation = nil },
		"operation, no source":   func(l *LUN) { l.Operation.Source = nil },
		"operation, no plex":     func(l *LUN) { *l.Operation = Operation{ID: opID(1), Type: vds.AsyncExtendLUN} },
		"one letter":             func(l *LUN) { l.Name = "x" },
		"digit first":            func(l *LUN) { l.Name = "0._-Z" },
		"64 letters":             func(l *LUN) { l.Name = strings.Repeat("n", 64) },
		"deleted":                func(l *LUN) { l.Deleted, l.Operation = true, nil },
		"deleted, no plex":       func(l *LUN) { l.Deleted, l.Operation, l.Plexes = true, nil, nil },
		"last generation":        func(l *LUN) { l.Generation = maxCount },
		"smallest region":        func(l *LUN) { l.RegionSize = 1 },
		"plex longer than lun":   func(l *LUN) { l.Size = size.MiB.Sectors() },
		"other metadata slot":    func(l *LUN) { l.Plexes[1].Slot = SlotB },
		"other slot than source": func(l *LUN) { l.Operation.Source.Plexes[0].Slot = SlotB },
		"tombstone beyond":       func(l *LUN) { l.Absorbed[0].Generation = 99 },
		"plex in two extents":    func(l *LUN) { l.Operation, l.Plexes[0].Data = nil, []Extent{mib(1, 5, 4), mib(3, 4, 4)} },
		"extents side by side":   func(l *LUN) { l.Operation, l.Plexes[0].Data = nil, []Extent{mib(1, 9, 4), mib(1, 5, 4)} },
		"64 extents": func(l *LUN) {
			l.Operation, l.Plexes[0].Data = nil, nil
			for i := range MaxExtents {
				l.Plexes[0].Data = append(l.Plexes[0].Data, mib(1, 5+i, 1))
			}
		},
		"8 plexes": func(l *LUN) {
			for i := len(l.Plexes); i < MaxPlexes; i++ {
				l.Plexes = append(l.Plexes, testPlex(50+i, 50+i, 4, 8))
			}
		},
		"a third plex is stale":  func(l *LUN) { l.Plexes = append(l.Plexes, stale(testPlex(7, 7, 4, 8))) },
		"first plex is stale":    func(l *LUN) { l.Operation, l.Plexes[0].Stale = nil, true },
		"one of eight holds":     func(l *LUN) { *l = wide(*l, MaxPlexes-1) },
		"deleted, one stale":     func(l *LUN) { l.Deleted, l.Operation, l.Plexes[0].Stale = true, nil, true },
		"deleted, all stale":     func(l *LUN) { *l = wide(*l, MaxPlexes); l.Deleted = true },
		"queued":                 func(l *LUN) { l.Operation.Queued = true },
		"queued, nothing filled": func(l *LUN) { *l.Operation = Operation{ID: opID(1), Type: vds.AsyncExtendLUN, Queued: true} },
		"new plex, no source":    func(l *LUN) { l.Operation.Source, l.Absorbed = nil, nil },
		"source had a stale one": func(l *LUN) {
			second := testPlex(3, 3, 4, 8)
			l.Plexes, l.Operation.Plexes = append(l.Plexes, second), append(l.Operation.Plexes, second.ID)
			l.Operation.Source.Plexes = append(l.Operation.Source.Plexes, stale(second))
		},
		"extent at the end of all": func(l *LUN) {
			l.Plexes[0].Data[0].Start = MaxSize.Sectors()
			l.Plexes[0].Data[0].Length = MaxSize.Sectors()
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := fullLUN()
			change(&l)
			if err := l.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// stale is p when it does not hold all of the data.
func stale(p Plex) Plex { p.Stale = true; return p }

// wide is l without an operation and with eight plexes, of which the last ones are stale.
func wide(l LUN, staleOnes int) LUN {
	l.Operation, l.Plexes = nil, nil
	for i := range MaxPlexes {
		p := testPlex(50+i, 50+i, 4, 8)
		p.Stale = i >= MaxPlexes-staleOnes
		l.Plexes = append(l.Plexes, p)
	}
	return l
}

func TestLUNValidateRefuses(t *testing.T) {
	data := func(l *LUN) *Extent { return &l.Plexes[0].Data[0] }
	tests := map[string]struct {
		change func(*LUN)
		want   string // in the error's text
		is     error  // ErrInvalid when nil
	}{
		"no GUID":               {change: func(l *LUN) { l.ID = uuid.Nil }, want: "no GUID"},
		"no name":               {change: func(l *LUN) { l.Name = "" }, want: "name"},
		"name is a dot":         {change: func(l *LUN) { l.Name = "." }, want: "name"},
		"name is two dots":      {change: func(l *LUN) { l.Name = ".." }, want: "name"},
		"name with a slash":     {change: func(l *LUN) { l.Name = "a/b" }, want: `name "a/b"`},
		"name with a space":     {change: func(l *LUN) { l.Name = "a b" }, want: "name"},
		"name with an escape":   {change: func(l *LUN) { l.Name = "a\x1b[2J" }, want: `"a\x1b[2J"`},
		"name beyond ASCII":     {change: func(l *LUN) { l.Name = "ä" }, want: "name"},
		"name starts with dash": {change: func(l *LUN) { l.Name = "-rf" }, want: "name"},
		"name of 65 letters":    {change: func(l *LUN) { l.Name = strings.Repeat("n", 65) }, want: "name"},
		"size zero":             {change: func(l *LUN) { l.Size = 0 }, want: "size"},
		"size of odd sectors":   {change: func(l *LUN) { l.Size++ }, want: "size"},
		"size beyond all":       {change: func(l *LUN) { l.Size = MaxSize.Sectors() + 2048 }, want: "size"},
		"blocks of 3 KiB":       {change: func(l *LUN) { l.BlockSize = 3072 }, want: "blocks"},
		"blocks of 128 KiB":     {change: func(l *LUN) { l.BlockSize = 128 << 10 }, want: "blocks"},
		"host with a newline":   {change: func(l *LUN) { l.Host = "a\nb" }, want: "host"},
		"history twice":         {change: func(l *LUN) { l.Histories = []History{{ID: opID(1), Last: 1}, {ID: opID(1)}} }, want: "history"},
		"history without GUID":  {change: func(l *LUN) { l.Histories = []History{{}} }, want: "history"},
		"only old histories":    {change: func(l *LUN) { l.Histories = []History{{ID: opID(1), Last: 1}} }, want: "history"},
		"two present histories": {change: func(l *LUN) { l.Histories = []History{{ID: opID(1)}, {ID: opID(2)}} }, want: "history"},
		"history to come": {change: func(l *LUN) {
			l.Histories = []History{{ID: opID(1), Last: l.Generation + 1}, {ID: opID(2)}}
		}, want: "history"},
		"too many histories":    {change: func(l *LUN) { l.Histories = make([]History, MaxHistories+1) }, want: "histories"},
		"made, and a mirror":    {change: func(l *LUN) { l.Operation, l.Making = nil, true }, want: "being made"},
		"made, and gone":        {change: func(l *LUN) { l.Plexes, l.Operation, l.Making, l.Deleted = l.Plexes[:1], nil, true, true }, want: "being made"},
		"too many devices":      {change: func(l *LUN) { l.Devices = make([]Device, MaxDevices+1) }, want: "33 devices"},
		"device twice":          {change: func(l *LUN) { l.Devices = []Device{{Drive: driveID(1)}, {Drive: driveID(1)}} }, want: "device"},
		"device without GUID":   {change: func(l *LUN) { l.Devices = []Device{{Path: "/dev/sda"}} }, want: "device"},
		"path of 65 bytes":      {change: func(l *LUN) { l.Devices = []Device{{Drive: driveID(1), Path: strings.Repeat("p", 65)}} }, want: "64 bytes"},
		"model of 65 bytes":     {change: func(l *LUN) { l.Devices = []Device{{Drive: driveID(1), Model: strings.Repeat("m", 65)}} }, want: "64 bytes"},
		"serial of 65 bytes":    {change: func(l *LUN) { l.Devices = []Device{{Drive: driveID(1), Serial: strings.Repeat("s", 65)}} }, want: "64 bytes"},
		"generation zero":       {change: func(l *LUN) { l.Generation = 0 }, want: "generation"},
		"generation at the end": {change: func(l *LUN) { l.Generation = math.MaxUint64 }, want: "generation"},
		"region size of three":  {change: func(l *LUN) { l.RegionSize = 3 }, want: "region"},
		"no plex":               {change: func(l *LUN) { l.Plexes = nil }, want: "no plex"},
		"nine plexes":           {change: func(l *LUN) { l.Plexes = slices.Repeat(l.Plexes[:1], 9) }, want: "9 plexes"},
		"plex without GUID":     {change: func(l *LUN) { l.Plexes[0].ID = uuid.Nil }, want: "plex"},
		"plex twice":            {change: func(l *LUN) { l.Plexes[1].ID = plexID(1) }, want: plexID(1).String()},
		"plex with lun's GUID":  {change: func(l *LUN) { l.Plexes[0].ID = l.ID }, want: "plex"},
		"slot c":                {change: func(l *LUN) { l.Plexes[0].Slot = "c" }, want: `slot "c"`},
		"no slot":               {change: func(l *LUN) { l.Plexes[0].Slot = "" }, want: `slot ""`},
		"no data":               {change: func(l *LUN) { l.Plexes[0].Data = nil }, want: "0 sectors of data"},
		"data too short":        {change: func(l *LUN) { data(l).Length -= 2048 }, want: "sectors of data"},
		"65 extents":            {change: func(l *LUN) { l.Plexes[0].Data = slices.Repeat(l.Plexes[0].Data, 65) }, want: "65 data extents"},
		"extent without drive":  {change: func(l *LUN) { data(l).Drive = uuid.Nil }, want: "no drive"},
		"extent of no length":   {change: func(l *LUN) { data(l).Length = 0 }, want: "length"},
		"odd length":            {change: func(l *LUN) { data(l).Length += 8 }, want: "length"},
		"odd start":             {change: func(l *LUN) { data(l).Start += 8 }, want: "start"},
		"start in the label":    {change: func(l *LUN) { data(l).Start = 0 }, want: "start"},
		"start in the slots":    {change: func(l *LUN) { data(l).Start = (3 * size.MiB).Sectors() }, want: "start"},
		"start beyond all":      {change: func(l *LUN) { data(l).Start = 1 << 63 }, want: "start"},
		"end wraps round":       {change: func(l *LUN) { data(l).Length = math.MaxUint64 / 2048 * 2048 }, want: "length"},
		"metadata of 2 MiB":     {change: func(l *LUN) { l.Plexes[0].Meta.Length *= 2 }, want: "metadata extent"},
		"metadata nowhere":      {change: func(l *LUN) { l.Plexes[0].Meta = Extent{} }, want: "metadata extent"},
		"metadata in data":      {change: func(l *LUN) { l.Plexes[0].Meta.Start = data(l).Start }, want: plexID(1).String(), is: ErrOverlap},
		"plexes overlap": {
			change: func(l *LUN) { l.Plexes[1].Data[0], l.Operation = mib(1, 12, 8), nil },
			want:   driveID(1).String(), is: ErrOverlap,
		},
		"data overlaps itself": {
			change: func(l *LUN) { l.Plexes[0].Data = []Extent{mib(1, 6, 8), mib(1, 13, 1)} },
			want:   driveID(1).String(), is: ErrOverlap,
		},
		"deleted, overlaps": {
			change: func(l *LUN) { l.Deleted, l.Operation, l.Plexes[1].Data[0] = true, nil, mib(1, 12, 8) },
			want:   driveID(1).String(), is: ErrOverlap,
		},
		"absorbed without GUID":    {change: func(l *LUN) { l.Absorbed[0].LUN = uuid.Nil }, want: "absorbed"},
		"absorbed at zero":         {change: func(l *LUN) { l.Absorbed[0].Generation = 0 }, want: "absorbed"},
		"absorbed at the end":      {change: func(l *LUN) { l.Absorbed[0].Generation = maxCount + 1 }, want: "absorbed"},
		"absorbed itself":          {change: func(l *LUN) { l.Absorbed[0].LUN = l.ID }, want: "absorbed"},
		"absorbed twice":           {change: func(l *LUN) { l.Absorbed = slices.Repeat(l.Absorbed, 2) }, want: "absorbed"},
		"too many tombstones":      {change: func(l *LUN) { l.Absorbed = make([]Tombstone, 257) }, want: "257 tombstones"},
		"too many former":          {change: func(l *LUN) { l.Former = make([]uuid.UUID, 257) }, want: "257 former"},
		"former twice":             {change: func(l *LUN) { l.Former = slices.Repeat(l.Former, 2) }, want: "former"},
		"former without GUID":      {change: func(l *LUN) { l.Former[0] = uuid.Nil }, want: "former"},
		"outcome without id":       {change: func(l *LUN) { l.Last.ID = uuid.Nil }, want: "last operation"},
		"outcome of no type":       {change: func(l *LUN) { l.Last.Type = 0 }, want: "last operation"},
		"outcome from year -1":     {change: func(l *LUN) { l.Last.Ended = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, want: "last operation"},
		"operation without id":     {change: func(l *LUN) { l.Operation.ID = uuid.Nil }, want: "operation"},
		"operation of no type":     {change: func(l *LUN) { l.Operation.Type = vds.AsyncUnknown }, want: "operation"},
		"operation of type 999":    {change: func(l *LUN) { l.Operation.Type = 999 }, want: "operation"},
		"operation from year 9e4":  {change: func(l *LUN) { l.Operation.Started = time.Date(90000, 1, 1, 0, 0, 0, 0, time.UTC) }, want: "operation"},
		"operation on a deleted":   {change: func(l *LUN) { l.Deleted = true }, want: "operation"},
		"operation, strange plex":  {change: func(l *LUN) { l.Operation.Plexes[0] = plexID(77) }, want: plexID(77).String()},
		"operation, plex twice":    {change: func(l *LUN) { l.Operation.Plexes = slices.Repeat(l.Operation.Plexes, 2) }, want: "twice"},
		"filled and stale":         {change: func(l *LUN) { l.Plexes[1].Stale = true }, want: "being filled, and stale"},
		"all plexes stale":         {change: func(l *LUN) { *l = wide(*l, MaxPlexes) }, want: "no plex holds the data"},
		"all plexes filled":        {change: func(l *LUN) { l.Operation.Source, l.Operation.Plexes = nil, []uuid.UUID{plexID(2), plexID(1)} }, want: "no plex holds the data"},
		"filled or stale, all":     {change: func(l *LUN) { l.Plexes[0].Stale = true }, want: "no plex holds the data"},
		"the only plex is stale":   {change: func(l *LUN) { l.Operation, l.Plexes = nil, []Plex{stale(l.Plexes[0])} }, want: "no plex holds the data"},
		"the only plex is filled":  {change: func(l *LUN) { l.Plexes = l.Plexes[1:] }, want: "no plex holds the data"},
		"source is stale":          {change: func(l *LUN) { l.Operation.Source.Plexes[0].Stale = true }, want: "no plex holds the data"},
		"source with one of two":   {change: func(l *LUN) { l.Operation.Plexes = append(l.Operation.Plexes, plexID(1)) }, want: "other plexes"},
		"source not buried":        {change: func(l *LUN) { l.Absorbed = nil }, want: "not among the absorbed"},
		"source buried too early":  {change: func(l *LUN) { l.Absorbed[0].Generation = 2 }, want: "not among the absorbed"},
		"source is the lun":        {change: func(l *LUN) { l.Operation.Source.ID = l.ID }, want: "source"},
		"source unsound":           {change: func(l *LUN) { l.Operation.Source.Name = "" }, want: "name"},
		"source deleted":           {change: func(l *LUN) { l.Operation.Source.Deleted = true }, want: "deleted"},
		"source busy":              {change: func(l *LUN) { l.Operation.Source.Operation = &Operation{ID: opID(3), Type: vds.AsyncExtendLUN} }, want: "busy"},
		"source has moved":         {change: func(l *LUN) { l.Operation.Source.Plexes[0].Data = []Extent{mib(2, 20, 8)} }, want: "not the one being filled"},
		"source, other metadata":   {change: func(l *LUN) { l.Operation.Source.Plexes[0].Meta = mib(2, 20, 1) }, want: "not the one being filled"},
		"source, other plex":       {change: func(l *LUN) { l.Operation.Source.Plexes[0].ID = plexID(5) }, want: "not the one being filled"},
		"source, first plex":       {change: func(l *LUN) { l.Operation.Source.Plexes[0] = l.Plexes[0] }, want: "not the one being filled"},
		"source without the plex":  {change: func(l *LUN) { l.Operation.Plexes = nil }, want: "other plexes"},
		"source smaller than data": {change: func(l *LUN) { l.Operation.Source.Size *= 2 }, want: "sectors of data"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := fullLUN()
			tt.change(&l)
			err := l.Validate()
			want := tt.is
			if want == nil {
				want = ErrInvalid
			}
			if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Fatalf("error %v, want %v with %q", err, want, tt.want)
			}
			if l.Name != "" && !strings.Contains(err.Error(), fmt.Sprintf("%q", l.Name)) {
				t.Errorf("error %v does not name the lun", err)
			}
		})
	}
}

func TestCatalogValidate(t *testing.T) {
	one, two := testLUN(1, 1, testPlex(1, 1, 4, 8)), testLUN(2, 1, testPlex(2, 1, 13, 8))
	deleted := testLUN(3, 1, testPlex(3, 1, 4, 8))
	deleted.Deleted = true
	reused := deleted
	reused.Plexes = []Plex{testPlex(1, 1, 4, 8)}
	far := testLUN(4, 1, testPlex(4, 2, 100000, 8))
	last := testLUN(5, 1, testPlex(5, 1, 60-9, 8))
	tests := map[string]struct {
		luns []LUN
		want error
		text string
	}{
		"empty":                            {},
		"side by side":                     {luns: []LUN{one, two}},
		"up to the end":                    {luns: []LUN{one, last}},
		"deleted owns no space":            {luns: []LUN{one, deleted}},
		"deleted with a plex that lives":   {luns: []LUN{one, reused}},
		"witness without a plex here":      {luns: []LUN{one, far}},
		"other drive's space is not known": {luns: []LUN{testLUN(6, 1, testPlex(6, 2, 4, 8)), testLUN(7, 1, testPlex(7, 2, 4, 8))}},

		"not in order":           {luns: []LUN{two, one}, want: ErrInvalid, text: "order"},
		"twice":                  {luns: []LUN{one, one}, want: ErrInvalid, text: "twice"},
		"unsound record":         {luns: []LUN{{}}, want: ErrInvalid, text: "GUID"},
		"plex of two luns":       {luns: []LUN{one, testLUN(2, 1, testPlex(1, 2, 4, 8))}, want: ErrInvalid, text: plexID(1).String()},
		"plex is another lun":    {luns: []LUN{one, testLUN(2, 1, Plex{ID: lunID(1), Data: []Extent{mib(2, 5, 8)}, Meta: mib(2, 4, 1), Slot: SlotA})}, want: ErrInvalid, text: "also used"},
		"overlap":                {luns: []LUN{one, testLUN(2, 1, testPlex(2, 1, 12, 8))}, want: ErrOverlap, text: "lun2"},
		"metadata in data":       {luns: []LUN{one, testLUN(2, 1, Plex{ID: plexID(2), Data: []Extent{mib(2, 5, 8)}, Meta: mib(1, 8, 1), Slot: SlotA})}, want: ErrOverlap, text: plexID(2).String()},
		"into the tail":          {luns: []LUN{testLUN(5, 1, testPlex(5, 1, 60-8, 8))}, want: ErrInvalid, text: driveID(1).String()},
		"beyond the drive":       {luns: []LUN{testLUN(5, 1, testPlex(5, 1, 1000, 8))}, want: ErrInvalid, text: "outside"},
		"too many":               {luns: make([]LUN, MaxLUNs+1), want: ErrFull, text: "4097 records"},
		"space taken by a third": {luns: []LUN{one, two, testLUN(3, 1, testPlex(3, 1, 20, 8))}, want: ErrOverlap, text: "lun3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := Catalog{Sequence: 1, LUNs: tt.luns}.Validate(testLabel(1))
			if !errors.Is(err, tt.want) || tt.want != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
	for _, sequence := range []uint64{0, maxCount + 1} {
		if err := (Catalog{Sequence: sequence}).Validate(testLabel(1)); !errors.Is(err, ErrInvalid) {
			t.Errorf("sequence %d: error %v, want %v", sequence, err, ErrInvalid)
		}
	}
}

// TestOverlapsFindsEveryClaim compares with the definition: each claim that overlaps any other is in a pair.
func TestOverlapsFindsEveryClaim(t *testing.T) {
	ranges := [][2]int{{4, 10}, {4, 1}, {5, 2}, {6, 8}, {14, 2}, {15, 1}, {20, 4}, {24, 1}, {23, 2}, {30, 1}}
	for mask := range 1 << len(ranges) {
		var claims []claim
		for i, r := range ranges {
			if mask&(1<<i) != 0 {
				claims = append(claims, claim{extent: mib(1, r[0], r[1]), plex: plexID(i)})
			}
		}
		want, got := map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
		for i, a := range claims {
			for j, b := range claims {
				if i != j && a.extent.Start < b.extent.End() && b.extent.Start < a.extent.End() {
					want[a.plex] = true
				}
			}
		}
		for a, b := range overlaps(claims) {
			got[a.plex], got[b.plex] = true, true
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Fatalf("ranges %b: overlapping %v, found %v", mask, want, got)
		}
	}
}
