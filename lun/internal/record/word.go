package record

import (
	"strings"

	"github.com/google/uuid"
)

// A word that a user types names an object by its name, by its GUID, or by the beginning of its GUID. Dashes do not count.

// MinDigits is how many digits of a GUID name an object.
const MinDigits = 4

// maxDigits is how many a GUID has.
const maxDigits = 32

// digits is the digits of a word that reads as a GUID or as the beginning of one; "" when it does not.
func digits(word string) string {
	plain := strings.ToLower(strings.ReplaceAll(word, "-", ""))
	if len(plain) < MinDigits || len(plain) > maxDigits || strings.Trim(plain, "0123456789abcdef") != "" {
		return ""
	}
	return plain
}

// ReadsAsGUID reports whether a word reads as a GUID or as the beginning of one: 4 to 32 hexadecimal digits, with dashes
// anywhere or without. No LUN gets such a name.
func ReadsAsGUID(word string) bool { return digits(word) != "" }

// IsGUID reports whether a word is all of an object's GUID. Whoever writes all of it means nothing else.
func IsGUID(word string, id uuid.UUID) bool {
	plain := digits(word)
	return len(plain) == maxDigits && plain == digits(id.String())
}

// BeginsGUID reports whether an object's GUID begins with a word.
func BeginsGUID(word string, id uuid.UUID) bool {
	plain := digits(word)
	return plain != "" && strings.HasPrefix(digits(id.String()), plain)
}
