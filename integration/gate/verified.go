package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// verifiedFile has the checksum of the files of the harness with which its tests last passed: as long as these files are the
// same, nothing can have changed about what the tests find.
const verifiedFile = "integration/gate/verified"

// harnessFiles are what the tests of the harness, of the machines and of the comparisons depend on, but for plexctl itself.
var harnessFiles = []string{"integration/vm", "integration/internal", "integration/harness", "integration/measure", "bench", "scripts", "internal/sweep"}

// harnessSum is a checksum of the names and the content of the harness's files.
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
