package english

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	codeSpan = regexp.MustCompile("`[^`]*`")
	link     = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// abbreviations end with a full stop and do not end a sentence.
var abbreviations = map[string]bool{"e.g.": true, "i.e.": true, "vs.": true, "cf.": true}

// blank stands for a space in a code span, which is one word.
const blank = "\u2423"

// sentences splits a block. A code span is one word, a link is its text.
func sentences(b Block) []sentence {
	text := codeSpan.ReplaceAllStringFunc(b.Text, func(span string) string {
		return strings.Join(strings.Fields(span), blank) + strings.Repeat("\n", strings.Count(span, "\n"))
	})
	text = link.ReplaceAllString(text, "$1")
	var all []sentence
	var now sentence
	for i, line := range strings.Split(text, "\n") {
		for word := range strings.FieldsSeq(line) {
			if len(now.words) == 0 {
				now.line = b.Line + i
			}
			now.words = append(now.words, word)
			if endsSentence(word) {
				all = append(all, now)
				now = sentence{}
			}
		}
	}
	if len(now.words) > 0 {
		all = append(all, now)
	}
	return all
}

// endsSentence reports whether a sentence ends with word: "done.", "done.)", but neither "e.g." nor "LUN...".
func endsSentence(word string) bool {
	word = strings.TrimRight(word, `"')]*_`)
	if abbreviations[strings.ToLower(strings.TrimLeft(word, `"'([*_`))] || strings.HasSuffix(word, "..") {
		return false
	}
	return strings.HasSuffix(word, ".") || strings.HasSuffix(word, "!") || strings.HasSuffix(word, "?")
}

func isCode(word string) bool { return strings.Contains(word, "`") }

func isAlphanumeric(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
