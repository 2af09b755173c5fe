// Package english checks prose by the mechanical part of the project's writing rules. It looks at the length of a
// sentence, at its opening, and at turns of phrase. Documents, help texts and comments are read in a hurry, often by
// people whose first language is another one.
//
// The package cannot tell whether a sentence is clear. It only finds the three habits that made earlier texts hard to
// read. A number for each file, in testdata/allowed.txt, says how many faults remain from that time.
package english

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxWords is how many words a sentence may have.
const MaxWords = 25

// Block is a run of text that ends a sentence where it ends: a paragraph, a list item, a heading.
type Block struct {
	Line int // of its first line in the file, from 1
	Text string
}

// Fault is a sentence that breaks a rule.
type Fault struct {
	Line     int // of the beginning of the sentence
	Rule     string
	Sentence string
}

func (f Fault) String() string { return fmt.Sprintf("%d: %s: %s", f.Line, f.Rule, f.Sentence) }

// openings are first words that make a reader wait for the subject of the sentence. In a sentence without a comma, "where"
// is a question and no condition.
var openings = []string{"of which", "what is", "that", "where", "nobody"}

// phrase is a figurative turn, and the usual word in its place.
type phrase struct {
	pattern *regexp.Regexp
	usual   string
}

var phrases = []phrase{
	{regexp.MustCompile(`(?i)\b(hangs?|hung|hanging) over\b`), "does not respond"},
	{regexp.MustCompile(`(?i)\bwell again\b`), "in sync, or works"},
	{regexp.MustCompile(`(?i)\b(lets?|letting) (\S+ ){0,4}go on\b`), "resume"},
	{regexp.MustCompile(`(?i)\b(gives?|gave|given|giving) (\S+ ){0,3}up\b`), "discard, or stop"},
	{regexp.MustCompile(`(?i)\bbroke\b`), "failed"},
}

// Check finds the faults of some blocks. A sentence has one fault for each rule it breaks.
func Check(blocks []Block) []Fault {
	var faults []Fault
	for _, block := range blocks {
		for _, s := range sentences(block) {
			for _, rule := range s.faults() {
				faults = append(faults, Fault{s.line, rule, s.text()})
			}
		}
	}
	return faults
}

// sentence is a sentence in words; the marks around a word are still on it.
type sentence struct {
	line  int
	words []string
}

func (s sentence) text() string { return strings.ReplaceAll(strings.Join(s.words, " "), blank, " ") }

func (s sentence) faults() []string {
	var faults []string
	if n := s.length(); n > MaxWords {
		faults = append(faults, fmt.Sprintf("%d words, more than %d", n, MaxWords))
	}
	if opening, ok := s.opening(); ok {
		faults = append(faults, fmt.Sprintf("opens with %q", opening))
	}
	for _, p := range phrases {
		if found := p.pattern.FindString(s.text()); found != "" {
			faults = append(faults, fmt.Sprintf("says %q, the usual word: %s", found, p.usual))
		}
	}
	return faults
}

// length counts words with a letter or a digit, and an enumeration of code spans as one.
func (s sentence) length() int {
	n := 0
	for i, word := range s.words {
		switch {
		case !strings.ContainsFunc(word, isAlphanumeric):
		case isCode(word) && i > 0 && isCode(s.words[i-1]):
		default:
			n++
		}
	}
	return n
}

func (s sentence) opening() (string, bool) {
	var bare []string
	for _, word := range s.words {
		if !isCode(word) {
			word = strings.TrimFunc(word, func(r rune) bool { return !isAlphanumeric(r) })
		}
		if word != "" {
			bare = append(bare, strings.ToLower(word))
		}
	}
	i := slices.IndexFunc(openings, func(opening string) bool {
		first := strings.Fields(opening)
		return len(bare) >= len(first) && slices.Equal(bare[:len(first)], first)
	})
	if i < 0 || openings[i] == "where" && !strings.Contains(s.text(), ",") {
		return "", false
	}
	return openings[i], true
}
