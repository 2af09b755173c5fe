// Package signature recognises the content of a block device: file systems, partition tables, swap, encryption, and members
// of LVM, md, ZFS, DRBD and others.
//
//	magics.go      the table of bytes at fixed places, and the labels beside them
//	filesystem.go  file systems that take more than a magic: ext, FAT
//	volume.go      md, DRBD and ZFS, which have their metadata at either end of a device
//	partition.go   GPT and DOS partition tables
//
// "Nothing found" does not say that a device is empty. It only says that nothing in these tables is there.
//
// The author of the content may be anybody. So the texts that the package returns are short and printable, and no value on
// a device makes it read or compute much.
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

// String is the type and the label for an error text: `ext4 "root"`.
func (s Signature) String() string {
	if s.Label == "" {
		return s.Type
	}
	return s.Type + " " + strconv.Quote(s.Label)
}

// Own is the type of a drive of plexctl, and of the rest of a former one: a label or a catalog at either end.
const Own = "plexctl"

// unit is the unit of all reads: blockdev.Align.
const unit = 4096

// Find is everything that it recognises on a device of the given length, each type once. It reads r in multiples of 4096
// bytes, at offsets that are such multiples too. It fails with the error of r if the start or the end cannot be read and the
// rest has nothing that it recognises.
func Find(r io.ReaderAt, length size.Bytes) ([]Signature, error) {
	p := probe{r: r, size: int64(length), reads: map[int64]reading{}}
	for _, look := range []func(*probe){
		(*probe).ext, (*probe).magics, (*probe).vfat, (*probe).md, (*probe).drbd, (*probe).zfs, (*probe).dos, // dos looks at what was found
	} {
		look(&p)
	}
	if p.err != nil && len(p.found) == 0 {
		return nil, p.err
	}
	return p.found, nil
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

// add notes a signature. Of several of one type it keeps one, if possible one with a label or a UUID.
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

// bytes is n bytes at a place. It is nil if the device does not have them, or if they cannot be read.
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

// read is as many of n bytes as can be read.
func (p *probe) read(at int64, n int) []byte {
	b := make([]byte, n)
	got, err := p.r.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) && p.err == nil {
		p.err = err
	}
	return b[:got]
}

// has reports whether a text is at a place. A negative place counts from the end of the device.
func (p *probe) has(at int64, text string) bool {
	return string(p.bytes(p.place(at), len(text))) == text
}

// place is at, counted from the start of the device. A negative one counts from the end.
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

// longest is the most characters that a label has here.
const longest = 64

// printable is the text up to the first zero byte, without the space around it. Characters that cannot be printed become
// question marks, because terminals obey some of them.
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
