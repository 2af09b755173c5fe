package cut

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// What the host and the guest of TestHostPowerCuts tell each other. The guest prints how many writes were
// acknowledged, and which layouts, see killRig, there may be from now on; the next guest gets both in its environment.
const (
	Ready      = "the power may be cut"
	LayoutsVar = "PLEXCTL_LAYOUTS" // with | between; empty at the first boot
	LastVar    = "PLEXCTL_LAST"    // set when the power is not to be cut again
	AckedLine  = "acknowledged "
	LayoutLine = "layouts "
)

// Limit is how long a guest runs, at most, before its power is cut.
const Limit = 4 * time.Second

// State is what the host knows of the disks.
type State struct {
	Acked   uint64
	Layouts string
}

// Serial is the serial of a disk.
func Serial(i int) string { return "cuts" + strconv.Itoa(i) }

// After is the state after a cut, by what the guest had printed.
func (s State) After(t *testing.T, printed string) State {
	t.Helper()
	for line := range strings.Lines(printed) {
		if text, ok := strings.CutPrefix(line, AckedLine); ok {
			acked, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
			lab.Must(t, err)
			s.Acked = acked
		}
		if text, ok := strings.CutPrefix(line, LayoutLine); ok {
			s.Layouts = strings.TrimSpace(text)
		}
	}
	return s
}

// Scribbled is the length of the end of web1 that Scribble writes to, so that the plexes differ after a cut. The writes that must
// survive go to the part before it.
const Scribbled = size.MiB

// Scribble writes to the end of web1 until the function it returns is called.
func Scribble(t testing.TB, path string) (stop func()) {
	t.Helper()
	f, err := lab.OpenDirect(path, os.O_RDWR)
	lab.Must(t, err)
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer f.Close()
		p := lab.AlignedBuffer(lab.BlockSize)
		defer unix.Munmap(p)
		for n := uint64(1); !stopped.Load(); n++ {
			binary.LittleEndian.PutUint64(p, n)
			at := KillLength - Scribbled + size.Bytes(rand.Uint64N(uint64(Scribbled/lab.BlockSize)))*lab.BlockSize
			if _, err := f.WriteAt(p, int64(at)); err != nil {
				t.Errorf("scribble: %v", err)
				return
			}
		}
	}()
	return func() {
		stopped.Store(true)
		<-ended
	}
}
