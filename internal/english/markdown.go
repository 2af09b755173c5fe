package english

import (
	"regexp"
	"strings"
)

var (
	marker  = regexp.MustCompile(`^\s*([*+-]|\d+[.)])\s+`) // of a list item
	heading = regexp.MustCompile(`^#+\s+`)
	front   = regexp.MustCompile(`^\s*(>\s?)*`) // indentation and block quotes
)

// Markdown is the prose of a document: no code blocks, no tables, no lines that are a picture or a comment.
func Markdown(text string) []Block {
	var c collector
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimPrefix(line, front.FindString(line))
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			c.end()
		case fenced:
		case line == "" || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "<!--"):
			c.end()
		case heading.MatchString(line):
			c.end()
			c.add(i+1, heading.ReplaceAllString(line, ""))
			c.end()
		case marker.MatchString(line):
			c.end()
			c.add(i+1, marker.ReplaceAllString(line, ""))
		default:
			c.add(i+1, line)
		}
	}
	c.end()
	return c.blocks
}

// plain is the prose of a doc comment or a help text. An indented line is code there, unless it belongs to an item of a
// list. The first line has the number first.
func plain(first int, text string) []Block {
	var c collector
	item := false
	for i, line := range strings.Split(text, "\n") {
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			c.end()
			item = false
		case marker.MatchString(line):
			c.end()
			c.add(first+i, marker.ReplaceAllString(line, ""))
			item = true
		case indented && !item:
			c.end()
		case heading.MatchString(line):
			c.end()
			c.add(first+i, heading.ReplaceAllString(line, ""))
			c.end()
		default:
			if !indented && item {
				c.end()
				item = false
			}
			c.add(first+i, trimmed)
		}
	}
	c.end()
	return c.blocks
}

// collector puts lines together to blocks.
type collector struct {
	blocks []Block
	line   int
	lines  []string
}

func (c *collector) add(line int, text string) {
	if len(c.lines) == 0 {
		c.line = line
	}
	c.lines = append(c.lines, text)
}

func (c *collector) end() {
	if len(c.lines) > 0 {
		c.blocks = append(c.blocks, Block{c.line, strings.Join(c.lines, "\n")})
	}
	c.lines = nil
}
