package vm

import (
	"bytes"
	"io"
	"sync"
)

// sharedWriter lets several guests write to one place, a line at a time.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes p while no other guest does.
func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// prefixed is s for one of several guests; on its own, a guest needs no prefix.
func (s *sharedWriter) prefixed(name string, several bool) io.Writer {
	if !several {
		return s
	}
	return &sharedWriter{w: &prefixWriter{w: s, prefix: name + " | "}}
}

// prefixWriter puts a prefix before every line and passes on whole lines only. It is not safe for concurrent use.
type prefixWriter struct {
	w      io.Writer
	prefix string
	line   []byte // what has come of the current line
}

// Write takes p and passes on the lines that it completes.
func (p *prefixWriter) Write(text []byte) (int, error) {
	p.line = append(p.line, text...)
	for {
		line, rest, found := bytes.Cut(p.line, []byte("\n"))
		if !found {
			return len(text), nil
		}
		if _, err := io.WriteString(p.w, p.prefix+string(line)+"\n"); err != nil {
			return 0, err
		}
		p.line = rest
	}
}
