package catalog

import (
	"testing"

	"golang.org/x/sys/unix"
)

// moody is a drive whose reads fail a number of times at one place.
type moody struct {
	*media
	at    int64
	fails int
}

func (m *moody) ReadAt(p []byte, off int64) (int, error) {
	if off == m.at && m.fails > 0 {
		m.fails--
		return 0, unix.EIO
	}
	return m.media.ReadAt(p, off)
}

// A slot that cannot be read for a moment holds the newest catalog, which has no copy at the end of the drive yet.
func TestReadDriveAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int
		want  uint64
	}{{"always there", 0, 5}, {"there at the second time", 1, 5}, {"there at the third time", 2, 5}, {"never there", 100, 4}} {
		t.Run(tt.name, func(t *testing.T) {
			m, d := history(t)
			if err := d.Write(m, testLUNs(4)); err != nil {
				t.Fatal(err)
			}
			m.store(atTailA, make([]byte, 4096)) // the copy of catalog 5 was not written
			got := mustRead(t, &moody{m, atHeadA, tt.fails})
			if got.Catalog.Sequence != tt.want {
				t.Errorf("catalog %d counts, want %d", got.Catalog.Sequence, tt.want)
			}
		})
	}
}
