package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Problem is a contradiction between drives. Err is ErrConflict, ErrDuplicateDrive, ErrOverlap, ErrDuplicateName or
// ErrInvalid.
type Problem struct {
	Err    error
	Detail string
	LUNs   []uuid.UUID // concerned, sorted
	Drives []uuid.UUID // concerned, sorted
	Unfit  []uuid.UUID // those of LUNs that cannot be used because of it, sorted
}

// Error is the problem on one line.
func (p Problem) Error() string { return p.Detail + ": " + p.Err.Error() }

// Unwrap is Err.
func (p Problem) Unwrap() error { return p.Err }

// mostProblems is how many problems of one kind are listed for one drive. A single drive may cause thousands.
const mostProblems = 16

// kind is what problems are counted by.
type kind struct {
	err   error
	drive uuid.UUID // the first that is concerned
}

// noted is what Merge remembers of the problems that it has found.
type noted struct {
	known   map[string]bool
	count   map[kind]int
	reasons map[uuid.UUID]Problem // the first problem that makes a LUN unfit
}

// problem notes p, once, and blocks the LUNs that it makes unfit.
func (s *Set) problem(p Problem) {
	for _, id := range p.Unfit {
		if _, known := s.noted.reasons[id]; !known {
			s.noted.reasons[id] = p
		}
		s.blocked[id] = true
	}
	var key strings.Builder
	key.WriteString(p.Err.Error())
	for _, id := range slices.Concat(p.LUNs, []uuid.UUID{{}}, p.Drives) {
		key.Write(id[:])
	}
	if s.noted.known[key.String()] {
		return
	}
	s.noted.known[key.String()] = true
	if k := p.kind(); s.noted.count[k] < mostProblems {
		s.Problems = append(s.Problems, p)
	}
	s.noted.count[p.kind()]++
}

func (p Problem) kind() kind {
	k := kind{err: p.Err}
	if len(p.Drives) > 0 {
		k.drive = p.Drives[0]
	}
	return k
}

// countProblems adds how many problems are not listed.
func (s *Set) countProblems() {
	var more []Problem
	for k, n := range s.noted.count {
		if n <= mostProblems {
			continue
		}
		p := Problem{Err: k.err, Detail: fmt.Sprintf("and %d more", n-mostProblems)}
		if k.drive != uuid.Nil {
			p.Detail, p.Drives = fmt.Sprintf("drive %s: and %d more", k.drive, n-mostProblems), []uuid.UUID{k.drive}
		}
		more = append(more, p)
	}
	slices.SortStableFunc(more, func(a, b Problem) int { return cmp.Compare(a.Error(), b.Error()) })
	s.Problems = append(s.Problems, more...)
	s.noted.known, s.noted.count = nil, nil
}

// Reason is the first problem that makes a LUN unfit; false when there is none.
func (s Set) Reason(lun uuid.UUID) (Problem, bool) {
	p, found := s.noted.reasons[lun]
	return p, found
}
