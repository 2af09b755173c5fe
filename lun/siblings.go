package lun

import (
	"context"
	"errors"
)

var errNotBuilt = errors.New("not built")

// Reenumerate looks for drives anew, brings all catalogs to agree, and the kernel's devices of every active LUN to what its
// record says. It is the first half of the cure for vds.ErrProviderCacheCorrupt (IVdsHwProvider::Reenumerate); Refresh is
// the other.
func (p *Provider) Reenumerate(ctx context.Context) ([]Result, error) { return nil, errNotBuilt }

// TakeOver makes drives that were last used by another host this one's, so that their LUNs can be started here. refs are
// paths or GUIDs; none: all. The other host must not use them any more.
func (p *Provider) TakeOver(ctx context.Context, refs ...string) ([]Drive, error) {
	return nil, errNotBuilt
}
