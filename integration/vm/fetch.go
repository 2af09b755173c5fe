package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// keyring holds the keys that Debian's archive is signed with.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// fetchTimeout bounds the whole of a fetch: an index, a package of up to 70 MiB, unpacking.
const fetchTimeout = 10 * time.Minute

// source says where a series of kernels is found: a package that depends on the newest of the series.
type source struct {
	archive string // last element of the archive's address
	suite   string
	meta    string
	version string // what the version in the real packages' names must begin with: a series never turns into another one
}

// sourceOf is the source of a series. Security suites come first because their indexes are small.
func sourceOf(series string) (source, error) {
	switch series {
	case "5.10":
		return source{"debian-security", "bullseye-security", "linux-image-cloud-amd64", "5.10."}, nil
	case "6.1":
		return source{"debian-security", "bookworm-security", "linux-image-cloud-amd64", "6.1."}, nil
	case "6.12":
		return source{"debian-security", "bookworm-security", "linux-image-6.12-cloud-amd64", "6.12."}, nil
	case "newest":
		return source{"debian", "sid", "linux-image-cloud-amd64", ""}, nil
	}
	return source{}, errors.New("unknown series: have 5.10, 6.1, 6.12, newest")
}

// fetchKernel downloads the packages of a series and unpacks them to tree, which appears only when it is whole.
func fetchKernel(ctx context.Context, series, tree string) error {
	src, err := sourceOf(series)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	tmp, err := os.MkdirTemp(filepath.Dir(tree), "fetch-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	debs, err := downloadKernel(ctx, tmp, src)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(tmp, "tree")
	if err := unpackKernel(ctx, debs, unpacked); err != nil {
		return err
	}
	return os.Rename(unpacked, tree)
}

// downloadKernel fetches the packages that src.meta stands for into dir and returns their paths. apt checks the
// signature of the index and through it the packages; an archive that is not signed by a key of keyring is an error.
func downloadKernel(ctx context.Context, dir string, src source) ([]string, error) {
	options, err := privateApt(ctx, dir, src)
	if err != nil {
		return nil, err
	}
	if _, err := run(ctx, dir, "apt-get", append(options, "update")...); err != nil {
		return nil, err
	}
	depends, err := run(ctx, dir, "apt-cache", append(options, "depends", "--important", "--recurse", src.meta)...)
	if err != nil {
		return nil, err
	}
	packages, err := kernelPackages(depends, src)
	if err != nil {
		return nil, err
	}
	download := slices.Concat(options, []string{"download"}, packages)
	if _, err := run(ctx, dir, "apt-get", download...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.deb"))
}

// privateApt prepares dir for an apt that knows src alone and leaves the machine's own lists and caches as they are; it
// returns the options that make apt use it.
func privateApt(ctx context.Context, dir string, src source) ([]string, error) {
	uri, err := archiveURI(ctx, src.archive)
	if err != nil {
		return nil, err
	}
	list := filepath.Join(dir, "sources.list")
	line := fmt.Sprintf("deb [arch=amd64 signed-by=%s] %s %s main\n", keyring, uri, src.suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return nil, err
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return []string{
		"-qq",
		"-o", "Dir::Etc::SourceList=" + list,
		"-o", "Dir::Etc::SourceParts=-",
		"-o", "Dir::State::Lists=" + filepath.Join(dir, "lists"),
		"-o", "Dir::State::Status=/dev/null",
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "APT::Sandbox::User=root",
		"-o", "APT::Update::Error-Mode=any",
	}, nil
}

// archiveURI is the address from which this machine's apt gets the archive whose address ends with name.
func archiveURI(ctx context.Context, name string) (string, error) {
	out, err := run(ctx, "", "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return "", err
	}
	for uri := range strings.FieldsSeq(out) {
		if path.Base(uri) == name {
			return uri, nil
		}
	}
	return "", fmt.Errorf("apt is set up for no archive named %s", name)
}

// kernelPackages finds the real packages in what apt-cache depends --recurse printed for a metapackage: one up to Debian
// 13, four after that.
func kernelPackages(depends string, src source) ([]string, error) {
	names := regexp.MustCompile(`(?m)^linux-(?:base|image|binary|modules)-` + regexp.QuoteMeta(src.version) + `\d.*$`)
	packages := names.FindAllString(depends, -1)
	if len(packages) == 0 {
		return nil, fmt.Errorf("package %s of %s depends on no kernel %s*", src.meta, src.suite, src.version)
	}
	return packages, nil
}

// unpackKernel unpacks the packages of a kernel to tree and its compressed modules with them: decompressing them here,
// once, is far cheaper than in every guest.
func unpackKernel(ctx context.Context, debs []string, tree string) error {
	for _, deb := range debs {
		if _, err := run(ctx, "", "dpkg", "-x", deb, tree); err != nil {
			return err
		}
	}
	_, err := run(ctx, "", "find", tree, "-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+")
	return err
}

// run runs a command of the host in dir and returns what it printed to standard output.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}
