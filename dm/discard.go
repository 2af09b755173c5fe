//go:build linux

package dm

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// RefuseDiscards turns discards off for a running device, until it gets another table. They are off too for a device that is
// stacked on it and gets its table afterwards (drivers/md/dm-table.c, dm_table_supports_discards).
func (c *Control) RefuseDiscards(ctx context.Context, name string) error {
	const op = "refuse discards of"
	rep, err := c.device(ctx, op, name, request{command: unix.DM_DEV_STATUS})
	if err != nil {
		return err
	}
	limit, err := os.OpenFile("/sys/dev/block/"+rep.dev.String()+"/queue/discard_max_bytes", os.O_WRONLY, 0)
	if err != nil {
		return &Error{Op: op, Device: name, Err: err}
	}
	_, err = limit.WriteString("0")
	return fault(op, name, errors.Join(err, limit.Close()))
}
