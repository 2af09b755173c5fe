package dm

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// RefuseDiscards has a device that runs take no discards until it gets another table. A device that is stacked on it, and gets
// its table afterwards, takes none either (drivers/md/dm-table.c, dm_table_supports_discards; Documentation/ABI/stable/
// sysfs-block, queue/discard_max_bytes).
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
	if err := errors.Join(err, limit.Close()); err != nil {
		return &Error{Op: op, Device: name, Err: err}
	}
	return nil
}
