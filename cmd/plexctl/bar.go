package main

import (
	"fmt"
	"io"
	"strings"
)

// bar is a progress bar on one line of a terminal, with a text behind it.
type bar struct {
	w     io.Writer
	width int // of the terminal, in columns
	drawn bool
}

// Parts of a bar.
const (
	minBar    = 10 // columns of what fills; with fewer there is the text alone
	eraseLine = "\x1b[K"
)

// draw shows how far something is. It replaces what it has drawn before, and what the terminal has echoed since.
func (b *bar) draw(name string, percent int, text string) {
	room := b.width - len(name) - len(" [] ") - len(text) - 1 // in the last column a terminal may begin a new line
	line := name + " " + text
	if room >= minBar {
		done := strings.Repeat("=", room*percent/100)
		if percent < 100 {
			done += ">"
		}
		line = fmt.Sprintf("%s [%-*s] %s", name, room, done[:min(len(done), room)], text)
	}
	fmt.Fprintf(b.w, "\r%s"+eraseLine, line[:min(len(line), max(0, b.width-1))])
	b.drawn = true
}

// close leaves the bar on the screen, and what comes next begins on a new line.
func (b *bar) close() {
	if b.drawn {
		fmt.Fprintln(b.w)
	}
	b.drawn = false
}
