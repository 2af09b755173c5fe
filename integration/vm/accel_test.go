package vm

import "testing"

func TestTCGThreads(t *testing.T) {
	for _, tt := range []struct{ version, want string }{
		{"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022\n", "tcg,thread=single"},
		{"QEMU emulator version 8.0.5\n", "tcg,thread=single"},
		{"QEMU emulator version 8.1.0\n", "tcg,thread=multi"},
		{"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n", "tcg,thread=multi"},
		{"warning: no such machine\nQEMU emulator version 9.2.91 (v9.2.91)\n", "tcg,thread=multi"},
	} {
		major, minor, err := qemuVersion(tt.version)
		if got := tcgThreads(major, minor); got != tt.want || err != nil {
			t.Errorf("%q: %s, %v, want %s", tt.version, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "QEMU emulator version", "QEMU emulator version seven.2", "emulator version 8.1.0"} {
		if major, minor, err := qemuVersion(text); err == nil {
			t.Errorf("%q has version %d.%d, want an error", text, major, minor)
		}
	}
}

// TestProcessor holds emulated machines, whatever QEMU calls that, apart from those that the processor runs.
func TestProcessor(t *testing.T) {
	for accel, emulated := range map[string]bool{"kvm": false, "tcg": true, "tcg,thread=single": true, "tcg,thread=multi": true} {
		if got := processor(accel) != "max"; got != emulated {
			t.Errorf("processor of %s: %s", accel, processor(accel))
		}
		if got := len(processorEnv(accel)) > 0; got != emulated {
			t.Errorf("environment with %s: %v", accel, processorEnv(accel))
		}
	}
}
