package product

import (
	"fmt"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// driveStates is the states of drives.
func driveStates() map[string]func(*testing.T) *stateRig {
	return map[string]func(*testing.T) *stateRig{
		"no drive": func(t *testing.T) *stateRig {
			lab.NewLab(t)
			drive := lab.NewLoop(t, lab.SmallDrive, 512)
			return &stateRig{Rig: lab.OpenRig(t), names: []string{"/dev/sdb", drive}}
		},
		"its label is lost": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			overwriteStart(t, r.Drives[0], "", size.MiB)
			return r
		},
		"its label is overwritten": func(t *testing.T) *stateRig {
			r := newStateRig(t, true)
			overwriteStart(t, r.Drives[0], "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001", size.MiB)
			return r
		},
		"a copy of it is attached while it is in use": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			r.names = append([]string{"/dev/sde", lab.NewCopy(t, r.Drives[0])}, r.names...)
			return r
		},
		"two devices have its label": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			r.stop()
			r.names = append([]string{"/dev/sde", lab.NewCopy(t, r.Drives[0])}, r.names...)
			return r
		},
		"it takes no writes": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			r.stop()
			protect(t, r.Drives[0], 1)
			r.apply = func() { protect(t, r.Drives[0], 0) }
			return r
		},
		"it has become smaller": func(t *testing.T) *stateRig {
			r := holding(lab.NewSmallRig(t, 1))
			r.stop()
			limitLoop(t, r.Drives[0], lab.SmallDrive-size.MiB)
			r.apply = func() { limitLoop(t, r.Drives[0], 0) }
			return r
		},
		"it does not answer": func(t *testing.T) *stateRig {
			r := newStateRig(t, false)
			d := r.disks[2]
			sectors := fmt.Sprint(uint64(lab.SmallDrive.Sectors()))
			reload(t, d.Name, "0 "+sectors+" delay "+d.Loop+" 0 600000")
			r.apply = func() { reload(t, d.Name, "0 "+sectors+" linear "+d.Loop+" 0") }
			t.Cleanup(d.Heal)
			return r
		},
	}
}
