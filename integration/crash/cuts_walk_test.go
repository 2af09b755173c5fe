package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/cut"
)

// move is something that is done with plexctl to the LUNs of a layout, see killRig.
type move struct {
	line    string // the arguments of plexctl, see command
	to      string // the layout afterwards
	begins  bool   // an operation, which is to be waited for
	mayFail bool   // it may come too late, and then leaves the layout as it is
}

// place is a layout taken apart: the drives of web1 and of spare, and whether they have been extended. spare may be missing.
type place struct {
	web, spare             []int
	webLonger, spareLonger bool
}

// placeOf takes a layout apart.
func placeOf(layout string) place {
	return place{
		web: plexesOf(layout, cut.WebName), spare: plexesOf(layout, "spare"),
		webLonger: strings.HasSuffix(layout, "+"), spareLonger: strings.Contains(layout, "+ "),
	}
}

// String is the layout.
func (p place) String() string {
	text := func(name string, drives []int, longer bool) string {
		s := name + "="
		for _, d := range slices.Sorted(slices.Values(drives)) {
			s += fmt.Sprint(d)
		}
		if longer {
			s += "+"
		}
		return s
	}
	if p.spare == nil {
		return text(cut.WebName, p.web, p.webLonger)
	}
	return text("spare", p.spare, p.spareLonger) + " " + text(cut.WebName, p.web, p.webLonger)
}

// moves is all that can be done to a layout on three drives when no operation runs.
func moves(layout string) []move {
	p := placeOf(layout)
	var all []move
	if p.spare == nil {
		all = p.movesWithoutSpare()
	} else {
		all = p.movesWithSpare()
	}
	if !p.webLonger {
		q := p
		q.webLonger = true
		all = append(all, move{line: "lun extend web1 --by 1MiB", to: q.String(), begins: true})
	}
	for _, d := range p.web {
		if len(p.web) > 1 {
			q := p
			q.web = without(p.web, d)
			all = append(all, move{line: fmt.Sprintf("plex remove web1 @%d --yes", d), to: q.String()})
		}
	}
	return append(all, move{line: "deactivate", to: layout})
}

// movesWithoutSpare are those that make a LUN, or add room to web1.
func (p place) movesWithoutSpare() []move {
	var all []move
	for d := range 3 {
		q := p
		switch {
		case !slices.Contains(p.web, d):
			q.spare = []int{d}
			all = append(all, move{line: fmt.Sprintf("lun create spare --size 4MiB --drive @%d", d), to: q.String()})
			q = p
			q.web = append(slices.Clone(p.web), d)
			all = append(all, move{line: fmt.Sprintf("plex add web1 --drive @%d --rate 1MiB", d), to: q.String(), begins: true})
		case len(p.web) > 1:
			q.web, q.spare, q.spareLonger = without(p.web, d), []int{d}, p.webLonger
			all = append(all, move{line: fmt.Sprintf("plex split web1 @%d --name spare", d), to: q.String()})
		}
	}
	return all
}

// movesWithSpare are those that make an end of spare.
func (p place) movesWithSpare() []move {
	gone := p
	gone.spare = nil
	all := []move{{line: "lun delete spare --yes", to: gone.String()}}
	if p.webLonger && !p.spareLonger {
		return all // spare is too small
	}
	q := gone
	q.web = slices.Concat(p.web, p.spare)
	return append(all, move{line: "plex add web1 spare --yes --rate 1MiB", to: q.String(), begins: true})
}

// without is drives but for one.
func without(drives []int, drive int) []int {
	return slices.DeleteFunc(slices.Clone(drives), func(d int) bool { return d == drive })
}

// movesMeanwhile is what can be done while an operation runs that has changed a layout into another.
func movesMeanwhile(before, now string) []move {
	all := []move{
		{line: "op wait web1 --timeout 60s", to: now},
		{line: "op set-rate web1 2MiB", to: now, begins: true, mayFail: true},
	}
	if strings.HasSuffix(before, "+") == strings.HasSuffix(now, "+") { // else it extends, which cannot be cancelled
		all = append(all, move{line: "op cancel web1 --yes", to: before, mayFail: true})
	}
	return all
}

// TestHostMoves shows that moves lead to layouts that can be told apart and be left again.
func TestHostMoves(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 0))
	seen, layout := map[string]bool{}, "web1=0"
	for range 2000 {
		seen[layout] = true
		if diff := cmp.Diff(layout, placeOf(layout).String()); diff != "" {
			t.Fatalf("layout taken apart (-want +got):\n%s", diff)
		}
		all := moves(layout)
		layout = all[draw.IntN(len(all))].to
	}
	for _, want := range []string{"web1=12+", "web1=012+", "spare=2+ web1=01+", "spare=0 web1=2+"} {
		if !seen[want] {
			t.Errorf("layout %q was never reached, only %d others", want, len(seen))
		}
	}
}
