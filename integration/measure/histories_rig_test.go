package measure

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// Sizes of what the histories are played with.
const (
	historyDriveLength = 40 * size.MiB
	historyLength      = 8 * size.MiB // of the volume
	historyHot         = 4 * size.MiB // of its beginning, which is written to
)

// historyRig is a mirror of two legs on drives that can be plugged in, taken out, copied, and put back to an image.
type historyRig struct {
	t       *testing.T
	history string
	keeper  keeper
	drives  []*historyDrive // the two legs, and clones
}

// historyDrive is a drive on a file: a loop device, and a device over it that can fail. Loop is empty while it is not plugged in.
type historyDrive struct {
	lab.Brittle
	file string
}

// newHistoryRig makes a mirror and writes first to it.
func newHistoryRig(t *testing.T, name string, k keeper) *historyRig {
	t.Helper()
	r := &historyRig{t: t, history: name, keeper: k}
	for i := range 2 {
		r.drives = append(r.drives, r.newDrive(i))
		lab.Must(t, vm.CreateImage(r.drives[i].file, historyDriveLength))
	}
	r.plugAll()
	t.Cleanup(func() {
		_ = r.keeper.stop()
		r.unplugAll()
	})
	k.create(r.plugged())
	r.settle()
	r.write(first)
	return r
}

// newDrive is a drive that is not plugged in, and has no file yet.
func (r *historyRig) newDrive(i int) *historyDrive {
	name := fmt.Sprintf("lab-history%d", i)
	return &historyDrive{
		lab.Brittle{T: r.t, Name: name, Path: "/dev/mapper/" + name, Length: historyDriveLength.Sectors()},
		filepath.Join(r.t.TempDir(), name),
	}
}

// plug plugs a drive in.
func (r *historyRig) plug(i int) {
	r.t.Helper()
	d := r.drives[i]
	if d.Loop != "" {
		return
	}
	file, err := os.OpenFile(d.file, os.O_RDWR, 0)
	lab.Must(r.t, err)
	defer file.Close()
	d.Loop, err = lab.AttachLoop(file, 512)
	lab.Must(r.t, err)
	lab.RunTool(r.t, "dmsetup", "create", d.Name, "--table", d.Linear().String())
}

// plugAll plugs in what is not.
func (r *historyRig) plugAll() {
	r.t.Helper()
	for i := range r.drives {
		r.plug(i)
	}
}

// unplugAll takes all drives out. Nobody may have them open.
func (r *historyRig) unplugAll() {
	r.t.Helper()
	for _, d := range r.drives {
		if d.Loop == "" {
			continue
		}
		lab.RunTool(r.t, "dmsetup", "remove", "--retry", d.Name)
		lab.Must(r.t, lab.DetachLoop(d.Loop))
		lab.WaitFor(r.t, "the loop device to go", 10*time.Second, func() bool {
			return len(lab.Glob(r.t, "/sys/block/"+filepath.Base(d.Loop)+"/loop/backing_file")) == 0
		})
		d.Loop = ""
	}
}

// plugged is the paths of the drives that are plugged in.
func (r *historyRig) plugged() []string {
	var paths []string
	for _, d := range r.drives {
		if d.Loop != "" {
			paths = append(paths, d.Path)
		}
	}
	return paths
}

// image is what a drive holds now.
func (r *historyRig) image(i int) []byte {
	r.t.Helper()
	content, err := os.ReadFile(r.drives[i].file)
	lab.Must(r.t, err)
	return content
}

// restore makes a drive that is not plugged in what it was, or a new one what another was.
func (r *historyRig) restore(i int, image []byte) {
	r.t.Helper()
	lab.Must(r.t, os.WriteFile(r.drives[i].file, image, 0o600))
}

// start starts the mirror, which must work.
func (r *historyRig) start() {
	r.t.Helper()
	if out, ok := r.keeper.start(r.plugged(), false); !ok {
		r.t.Fatalf("%s does not start: %s", r.keeper.name(), out)
	}
	r.settle()
}

// stop stops the mirror in order.
func (r *historyRig) stop() {
	r.t.Helper()
	lab.Must(r.t, r.keeper.stop())
}

// cut ends the run as a power cut does: what is written after it has begun is on no drive. All drives are out then.
func (r *historyRig) cut() {
	r.t.Helper()
	for _, d := range r.drives {
		lab.RunTool(r.t, "dmsetup", "suspend", "--nolockfs", "--noflush", d.Name)
	}
	images := make([][]byte, len(r.drives))
	for i := range r.drives {
		images[i] = r.image(i)
	}
	for _, d := range r.drives {
		lab.RunTool(r.t, "dmsetup", "resume", d.Name)
	}
	lab.Must(r.t, r.keeper.stop())
	r.unplugAll()
	for i := range r.drives {
		r.restore(i, images[i])
	}
}

// write writes a content to the hot part of the volume, durably.
func (r *historyRig) write(content byte) {
	r.t.Helper()
	lab.FillWith(r.t, r.keeper.path(), string(content), historyHot)
	f, err := os.OpenFile(r.keeper.path(), os.O_RDWR, 0)
	lab.Must(r.t, err)
	lab.Must(r.t, f.Sync())
	lab.Must(r.t, f.Close())
}

// settle waits until the kernel copies nothing.
func (r *historyRig) settle() {
	r.t.Helper()
	calm := time.Now()
	lab.WaitFor(r.t, "the kernel to copy nothing", lab.SyncLimit, func() bool {
		if r.keeper.action() != dm.ActionIdle {
			calm = time.Now()
		}
		return time.Since(calm) > 1500*time.Millisecond
	})
}

// contents is how many blocks have which content.
type contents map[byte]int

// all is the contents that there are.
func (c contents) all() string { return string(slices.Sorted(maps.Keys(c))) }

// String is the contents in shares: "1: 12 %, 2: 88 %".
func (c contents) String() string {
	blocks := 0
	for _, n := range c {
		blocks += n
	}
	var parts []string
	for _, content := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%c: %.1f %%", content, 100*float64(c[content])/float64(blocks)))
	}
	return strings.Join(parts, ", ")
}

// look reads all blocks of the hot part of the volume past the page cache, several at a time and each by several readers, so that
// each leg is read from which the kernel reads at all.
func (r *historyRig) look() contents {
	r.t.Helper()
	const readers = 8
	found := make([]contents, readers)
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() {
			var err error
			if found[i], err = contentsOf(r.keeper.path(), 0); err != nil {
				r.t.Error(err)
			}
		})
	}
	wg.Wait()
	sum := contents{}
	for _, c := range found {
		for content, n := range c {
			sum[content] += n
		}
	}
	return sum
}

// contentsOf reads all blocks of the hot part of a device, which begins at start, in a random order.
func contentsOf(device string, start size.Bytes) (contents, error) {
	f, err := lab.OpenDirect(device, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block, found := lab.AlignedBuffer(lab.BlockSize), contents{}
	defer unix.Munmap(block)
	for _, n := range rand.Perm(int(historyHot / lab.BlockSize)) {
		if _, err := f.ReadAt(block, int64(start)+int64(n)*int64(lab.BlockSize)); err != nil {
			return found, err
		}
		found[block[0]]++
	}
	return found, nil
}

// legContents is what each leg of the running mirror holds.
func (r *historyRig) legContents() string {
	r.t.Helper()
	var parts []string
	for _, leg := range r.keeper.legs() {
		content, err := contentsOf(leg.device, leg.start)
		if err != nil {
			parts = append(parts, "missing") // lvm2 puts a device without any content in the place of one
			continue
		}
		parts = append(parts, content.String())
	}
	return strings.Join(parts, " / ")
}
