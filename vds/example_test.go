package vds_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/plexctl/plexctl/vds"
)

// openLUN fails the way an operation of plexctl does.
func openLUN() error {
	return &vds.Error{
		Code:   vds.ErrDeviceInUse,
		Op:     "delete",
		Object: `lun "web1"`,
		Reason: "it is mounted at /srv",
		Hint:   "unmount /srv",
	}
}

// A caller asks for the code with errors.Is, and prints the hint on a line of its own.
func ExampleError() {
	err := fmt.Errorf("clean up: %w", openLUN())
	fmt.Println(err)
	fmt.Println(vds.CodeOf(err), errors.Is(err, vds.ErrDeviceInUse))
	fmt.Println("hint:", vds.HintOf(err))
	// Output:
	// clean up: delete lun "web1": it is mounted at /srv
	// VDS_E_DEVICE_IN_USE true
	// hint: unmount /srv
}

func ExampleCode() {
	fmt.Println(vds.ErrInvalidOperation, vds.ErrInvalidOperation.Hex(), vds.ErrInvalidOperation.Failed())
	fmt.Println(vds.FromWin32(5))
	// Output:
	// VDS_E_INVALID_OPERATION 0x80042415 true
	// 0x80070005
}

func ExampleHealth() {
	text, _ := json.Marshal(map[string]any{"health": vds.HealthFailedRedundancy, "status": vds.StatusOnline})
	fmt.Println(string(text))
	// Output: {"health":"failed-redundancy","status":"online"}
}
