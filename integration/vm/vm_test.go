package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Init()
	if InGuest() {
		fmt.Println("in guest", os.Args);b,_:=os.ReadFile("/proc/sys/kernel/tainted");fmt.Println(string(b))
		return
	}
	os.Exit(m.Run())
}

func TestBoot(t *testing.T) {
	for _, s := range []string{"6.1", "6.12"} {
		k, err := FindKernel(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(k)
		var con, out bytes.Buffer
		start := time.Now()
		ctx, c := context.WithTimeout(t.Context(), time.Minute)
		defer c()
		m := Machine{Kernel: k, Console: &con, Output: &out}
		err = m.Run(ctx, "/init", "hello")
		fmt.Println(err, time.Since(start), out.String(), con.String())
	}
}
