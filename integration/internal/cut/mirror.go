package cut

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// What the scenarios of the power cuts under a mirror agree on.
const (
	MirrorDrive  = 96 * size.MiB
	MirrorLength = 64 * size.MiB
	TargetSerial = "target"
	SourceSerial = "source"
)

// MirrorStamps are the writes that must survive.
func MirrorStamps() lab.Stamps { return lab.Stamps{Seed: 2, Length: MirrorLength - noiseLength} }

// noiseLength is the end of the LUN, where writes are made that nobody vouches for.
const noiseLength = 16 * size.MiB

// ResultLines is what a scenario has to tell.
func ResultLines(output string) string {
	var told []string
	for line := range strings.Lines(output) {
		if strings.Contains(line, "result:") {
			told = append(told, strings.TrimSpace(line))
		}
	}
	return strings.Join(told, "\n")
}

// MakeNoise writes at random places of the end of a device until the power is cut, so that at any moment some write has
// reached one plex and not the other.
func MakeNoise(t *testing.T, path string) {
	f, err := lab.OpenDirect(path, os.O_RDWR)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	p := lab.AlignedBuffer(4 * lab.BlockSize)
	for n := uint64(1); ; n++ {
		MirrorStamps().Fill(p[:lab.BlockSize], n)
		at := MirrorLength - noiseLength + size.Bytes(rand.Uint64N(uint64(noiseLength/size.Bytes(len(p)))))*size.Bytes(len(p))
		if _, err := f.WriteAt(p, int64(at)); err != nil {
			return // the device goes when the test fails
		}
	}
}

// AckedWrites is how many writes the scenario before the cut told were acknowledged.
func AckedWrites(t *testing.T) uint64 {
	t.Helper()
	acked, err := strconv.ParseUint(os.Getenv(AckedVar), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return acked
}

// Written is how much has been written to a disk since the boot.
func Written(t *testing.T, serial string) size.Bytes {
	t.Helper()
	name := lab.DiskPath(t, serial)
	text, err := os.ReadFile("/sys/class/block/" + name[strings.LastIndex(name, "/")+1:] + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	sectors, err := strconv.ParseUint(fields[6], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return size.Sectors(sectors).Bytes()
}

// MostDirty is how much may have to be copied to a plex after a cut when only what was being written is copied.
const MostDirty = 4*size.MiB + noiseLength + lab.Overhead
