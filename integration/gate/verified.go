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

// verifiedFile has the checksum of the files of the harness with which its tests last passed: as long as these files are the
// same, nothing can have changed about what the tests find.
const verifiedFile = "integration/gate/verified"

// harnessFiles are what the tests of the harness, of the machines and of the comparisons depend on, but for plexctl itself.
var harnessFiles = []string{
	"integration/vm", "integration/internal", "integration/harness", "integration/measure", "internal/sweep",
	"scripts/vm.sh", "scripts/loopdev.sh",
}

// harnessSum is a checksum of the names and the content of the harness's files. Of Go files, comments do not count.
func harnessSum(root string) (string, error) {
	sum := sha256.New()
	for _, top := range harnessFiles {
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

// harnessVerified reports whether the harness's tests have passed with its files as they are.
func harnessVerified(root string) (bool, error) {
	sum, err := harnessSum(root)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(filepath.Join(root, verifiedFile))
	if os.IsNotExist(err) {
		return false, nil
	}
	return strings.TrimSpace(string(text)) == sum, err
}

// noteVerified records that the harness's tests have passed with its files as they are.
func noteVerified(root string) error {
	sum, err := harnessSum(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, verifiedFile), []byte(sum+"\n"), 0o644)
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
