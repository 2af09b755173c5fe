// Package integration tests plexctl on the real kernel. See package vm for where a test runs by its name.
package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/plexctl/plexctl/integration/vm"
)

func TestMain(m *testing.M) {
	os.Exit(vm.Main(m, vm.Machine{Tools: []string{"mkfs.ext4","e2fsck"}}))
}

func TestX(t *testing.T){ fmt.Println("kernel test", os.Getpid()); b,_:=os.ReadFile("/proc/version"); fmt.Println(string(b))}
func TestHostX(t *testing.T){ fmt.Println("host test") }
func TestGuestX(t *testing.T){ fmt.Println("guest test") }
func BenchmarkX(b *testing.B){ for b.Loop() {} }
