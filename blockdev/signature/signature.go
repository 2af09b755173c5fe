// Package signature tells what is on a block device by its content: file systems, partition tables, swap, encryption, and
// members of LVM, md, ZFS, DRBD and others.
//
//	magics.go       bytes at a fixed place that nothing else has there
//	filesystem.go   formats that take more than a magic, and their labels
//	volume.go       md, LVM, DRBD, ZFS, which stand at either end of a device
//	partition.go    GPT and DOS partition tables
//
// It only looks. Whoever wants to know that a device is empty must not read more into "nothing found" than that nothing in
// these tables is there. Everything that it reads may have been made up by whoever wrote to the device: what it returns is
// printable and short, and no value of a device leads it to read or to compute much.
package signature

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// Signature is something recognised in a device's content.
type Signature struct {
	Type  string // "ext4", "gpt", "dos", "lvm2", "linux_raid_member", "plexctl", …
	Label string // printable; may be empty
	UUID  string // lower case; may be empty
}

// Own is the type of a drive of plexctl, or of what is left of one: a label or a catalog at its start or at its end.
const Own = "plexctl"

// unit is the unit of all reads. A Disk of blockdev takes no other.
const unit = 4096

// Find is everything that is recognised on a device of the given length, each type once. It reads r in multiples of 4096
// bytes, at offsets that are such multiples too. A device of which the start or the end cannot be read is an error, unless
// what can be read is enough to recognise something.
func Find(r io.ReaderAt, length size.Bytes) ([]Signature, error) {
	p := probe{r: r, size: int64(length), reads: map[int64]reading{}}
	for _, look := range []func(*probe){
		(*probe).ext, (*probe).magics, (*probe).vfat, (*probe).md, (*probe).drbd, (*probe).zfs, (*probe).dos,
	} {
		look(&p)
	}
	if p.err != nil && len(p.found) == 0 {
		return nil, p.err
	}
	return withoutShadows(p.found), nil
}

// probe looks at one device.
type probe struct {
	r     io.ReaderAt
	size  int64
	reads map[int64]reading // by offset
	err   error             // the first read that failed
	found []Signature
}

// reading is what came of a read of some bytes. One that failed is not tried again: on a broken disk it may take long.
type reading struct {
	wanted int
	got    []byte
}

// add notes a signature. Of several of one type it keeps the first, with what any of them tells.
func (p *probe) add(s Signature) {
	i := slices.IndexFunc(p.found, func(have Signature) bool { return have.Type == s.Type })
	if i < 0 {
		p.found = append(p.found, s)
		return
	}
	if have := &p.found[i]; have.Label == "" && have.UUID == "" {
		*have = s
	}
}

// bytes is n bytes at a place, none where the device does not have them or cannot be read.
func (p *probe) bytes(at int64, n int) []byte {
	if at < 0 || at > p.size-int64(n) {
		return nil
	}
	start := at / unit * unit
	end := size.Bytes(at + int64(n)).RoundUp(unit)
	from, wanted := int(at-start), int(int64(end)-start)
	if p.reads[start].wanted < wanted {
		p.reads[start] = reading{wanted, p.read(start, wanted)}
	}
	b := p.reads[start].got
	if len(b) < from+n {
		return nil
	}
	return b[from : from+n]
}

// read is what can be read of n bytes.
func (p *probe) read(at int64, n int) []byte {
	b := make([]byte, n)
	got, err := p.r.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) && p.err == nil {
		p.err = err
	}
	return b[:got]
}

// has reports whether a text is at a place, which counts from the end of the device where it is negative.
func (p *probe) has(at int64, text string) bool {
	return string(p.bytes(p.place(at), len(text))) == text
}

// place is where at is, which counts from the end of the device where it is negative.
func (p *probe) place(at int64) int64 {
	if at < 0 {
		at += p.size
	}
	return at
}

// label is the text in a field of fixed length.
func (p *probe) label(at int64, n int) string { return printable(p.bytes(at, n)) }

// uuid is the UUID in 16 bytes, empty when they are all zero.
func (p *probe) uuid(at int64) string {
	id, err := uuid.FromBytes(p.bytes(at, len(uuid.UUID{})))
	if err != nil || id == uuid.Nil {
		return ""
	}
	return id.String()
}

// longest is the most characters of a label that are told.
const longest = 64

// printable is the text up to the first zero byte, without space around it. What cannot be printed is a question mark: the
// text is for terminals, and its author may be anybody.
func printable(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	runes := []rune(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b), "?")))
	return strings.TrimSpace(string(runes[:min(len(runes), longest)]))
}

// shadows is types that are recognised by little, with those that explain the little: a GPT comes with a DOS table that
// guards it, and boot sectors of some file systems end like one.
var shadows = map[string][]string{
	"dos": {"gpt", "vfat", "ntfs", "exfat", "refs", "bitlocker"},
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
