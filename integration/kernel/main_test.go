package kernel

import (
	"os"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
