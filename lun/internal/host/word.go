package host

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Candidate is an object that a word may mean.
type Candidate[T any] struct {
	Value T
	ID    uuid.UUID
	Text  string // for an error that names all candidates
	Named bool   // the word is its name, its path, or the name of something that it is on
}

// Pick is the object that a word means. The whole GUID of an object means that object alone. Otherwise a word that could mean
// several objects is refused, and the error names them all. It may be the name of one and the beginning of another's GUID. none
// is the error when it means nothing.
func Pick[T any](kind, word string, all []Candidate[T], none *vds.Error) (T, error) {
	var found []Candidate[T]
	for _, c := range all {
		if record.IsGUID(word, c.ID) {
			return c.Value, nil
		}
		if c.Named || record.BeginsGUID(word, c.ID) {
			found = append(found, c)
		}
	}
	var nothing T
	switch len(found) {
	case 1:
		return found[0].Value, nil
	case 0:
		return nothing, none
	}
	texts := make([]string, len(found))
	for i, c := range found {
		texts[i] = c.Text
	}
	return nothing, &vds.Error{
		Code: vds.ErrInvalidArg, Op: "find", Object: fmt.Sprintf("%s %q", kind, word),
		Reason: fmt.Sprintf("several match: %s", strings.Join(texts, ", ")), Hint: "name it by its whole GUID",
	}
}
