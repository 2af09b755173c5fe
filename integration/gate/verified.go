package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// verifiedFile has a line for each word of "gate:when" that depends on files: the word, and the checksum of these files with which its
// tests last passed. As long as the files are the same, nothing can have changed about what the tests find.
const verifiedFile = "integration/gate/verified"

// watched is the files that tests depend on, by the word of their "gate:when".
var watched = map[string][]string{
	// the tests of the harness, of the machines and of the comparisons, but for plexctl itself
	"harness": {
		"integration/vm", "integration/internal", "integration/harness", "integration/measure", "internal/sweep",
		"integration/product/neighbours_test.go", "scripts/vm.sh", "scripts/loopdev.sh",
	},
	// the tests that the simulated kernel behaves as the real ones
	"model": {"dm", "integration/kernel", "integration/vm", "integration/internal"},
}

// sumOf is a checksum of the names and the content of files, and of those in folders. Of Go files, comments do not count.
func sumOf(root string, files []string) (string, error) {
	sum := sha256.New()
	for _, top := range files {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if filepath.Ext(file) == ".go" {
				text = tokens(text)
			}
			name, err := filepath.Rel(root, file)
			fmt.Fprintf(sum, "%s %d\n%s\n", name, len(text), text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// verified is the words whose tests have passed with their files as they are.
func verified(root string) (map[string]bool, error) {
	text, err := os.ReadFile(filepath.Join(root, verifiedFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	same := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		word, noted, _ := strings.Cut(strings.TrimSpace(line), " ")
		sum, err := sumOf(root, watched[word])
		if err != nil {
			return nil, err
		}
		same[word] = noted == sum
	}
	return same, nil
}

// noteVerified records that the tests of these words have passed with their files as they are. It forgets the other words.
func noteVerified(root string, words []string) error {
	var lines strings.Builder
	for _, word := range words {
		sum, err := sumOf(root, watched[word])
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s %s\n", word, sum)
	}
	return os.WriteFile(filepath.Join(root, verifiedFile), []byte(lines.String()), 0o644)
}

// tokens is the tokens of a Go file, one to a line.
func tokens(text []byte) []byte {
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile("", files.Base(), len(text)), text, nil, 0)
	var all []byte
	for {
		_, kind, literal := s.Scan()
		if kind == token.EOF {
			return all
		}
		if kind == token.SEMICOLON {
			literal = "" // a line feed, or one that is written
		}
		all = fmt.Appendf(all, "%s %s\n", kind, literal)
	}
}
