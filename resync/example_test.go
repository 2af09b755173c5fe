package resync_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// copying is an operation that the first look finds running and the second one finds complete.
type copying struct{ looks int }

func (c *copying) Observe(context.Context) (resync.Observation, error) {
	c.looks++
	if c.looks == 1 {
		return resync.Observation{State: resync.Running, Done: 1024, Total: 4096}, nil
	}
	return resync.Observation{State: resync.Done, Done: 4096, Total: 4096}, nil
}

func (*copying) Settle(_ context.Context, result vds.Code) (vds.Code, error) {
	fmt.Println("recorded:", result)
	return result, nil
}

func (*copying) Check(context.Context) (resync.Observation, error) {
	return resync.Observation{State: resync.Done, Done: 4096, Total: 4096}, nil
}

func (*copying) Start(context.Context) error  { return nil }
func (*copying) Cancel(context.Context) error { return nil }

// silent has no events: the monitor polls.
type silent struct{}

func (silent) WaitEvent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func ExampleMonitor_Watch() {
	monitor := resync.NewMonitor(silent{}, slog.Default())
	defer monitor.Close()

	operation := monitor.Watch(resync.Descriptor{ID: uuid.New(), Type: vds.AsyncAddLUNPlex}, &copying{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := operation.Wait(ctx); err != nil {
		fmt.Println(err)
		return
	}
	status, _ := operation.QueryStatus(ctx)
	fmt.Printf("%s, %d %%\n", status.State, status.Percent)
	// Output:
	// recorded: S_OK
	// done, 100 %
}

func ExampleFinished() {
	operation := resync.Finished(resync.Descriptor{Type: vds.AsyncRecoverLUN}, vds.ErrOperationCanceled, 4096)
	fmt.Println(vds.CodeOf(operation.Wait(context.Background())))
	// Output: VDS_E_OPERATION_CANCELED
}
