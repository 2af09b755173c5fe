package blockdev

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/siderolabs/go-blockdevice/v2/blkid"

	"github.com/plexctl/plexctl/size"
)

// Signatures is what is recognised in the content of the device at path: file systems, partition tables, members of LVM,
// md, bcache, DRBD and ZFS, swap, encryption. Package blkid has the first word; what it
// does not know is looked for besides. A device of which the start or the end cannot be read is an error, unless what can
// be read is enough to recognise something.
func (h Host) Signatures(ctx context.Context, path string) ([]Signature, error) {
	disk, err := h.Open(ctx, path, Read)
	if err != nil {
		return nil, err
	}
	defer disk.Close() //nolint:errcheck // read only
	return signatures(path, disk, disk.Info().Size)
}

// signatures is Signatures of the device or image at path, which r reads.
func signatures(path string, r reader, length size.Bytes) ([]Signature, error) {
	found, libErr := probeLibrary(path)
	own := probe{r: r, size: length}
	for _, s := range own.search() {
		if !slices.ContainsFunc(found, func(have Signature) bool { return have.Type == s.Type }) {
			found = append(found, s)
		}
	}
	if own.err != nil && len(found) == 0 {
		return nil, fmt.Errorf("look for signatures on %s: %w", path, errors.Join(own.err, libErr))
	}
	return withoutShadows(found), nil
}

// probeLibrary asks package blkid, which knows the most common types, with label and UUID, and stops at the first it finds.
// It reads through the page cache, which it drops before. It takes no lock, since this process may hold it. Its error is
// not final: it also gives up on a partition that is too small for it. That a decoder of a library panics over what
// somebody wrote to a drive must not end the process.
func probeLibrary(path string) (found []Signature, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unexpected content: %v", r)
		}
	}()
	info, err := blkid.ProbePath(path, blkid.WithSkipLocking(true))
	if err != nil || info.Name == "" {
		return nil, err
	}
	s := Signature{Type: info.Name}
	if s.Type == "lvm2-pv" {
		s.Type = "lvm2"
	}
	if info.Label != nil {
		s.Label = *info.Label
	}
	if info.UUID != nil {
		s.UUID = info.UUID.String()
	}
	return []Signature{s}, nil
}

// shadows is types that are recognised by little, with those that explain the little: a GPT comes with a DOS table that
// guards it, boot sectors of some file systems end like one, and the library names the version of ext.
var shadows = map[string][]string{
	"dos": {"gpt", "vfat", "ntfs", "exfat", "refs"},
	"ext": {"ext2", "ext3", "ext4"},
}

// withoutShadows drops what something else that was found explains.
func withoutShadows(found []Signature) []Signature {
	explained := func(s Signature) bool {
		return slices.ContainsFunc(found, func(by Signature) bool { return slices.Contains(shadows[s.Type], by.Type) })
	}
	var out []Signature
	for _, s := range found {
		if !explained(s) {
			out = append(out, s)
		}
	}
	return out
}
