package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// effectOf is the effect that a system call had, "" when it had none. An effect is a call that has succeeded and has changed
// something that outlives the process: a device of device-mapper, what a drive holds or has made durable, a name in a folder.
func effectOf(tid int, regs unix.PtraceRegs) string {
	if int64(regs.Rax) < 0 {
		return ""
	}
	switch regs.Orig_rax {
	case unix.SYS_IOCTL:
		return ioctlEffect(tid, regs)
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		return driveEffect("write", tid, regs)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return driveEffect("flush", tid, regs)
	case unix.SYS_FALLOCATE:
		return driveEffect("fallocate", tid, regs)
	}
	return map[uint64]string{
		unix.SYS_MKNODAT: "mknod", unix.SYS_SYMLINKAT: "symlink", unix.SYS_UNLINKAT: "unlink",
		unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename",
	}[regs.Orig_rax]
}

// effective are the calls that can have an effect.
func effective() []uint32 {
	return []uint32{
		unix.SYS_IOCTL, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FALLOCATE,
		unix.SYS_MKNODAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	}
}

// driveEffect is a call on a descriptor, when that is of a block device.
func driveEffect(call string, tid int, regs unix.PtraceRegs) string {
	link := fmt.Sprintf("/proc/%d/fd/%d", tid, regs.Rdi)
	info, err := os.Stat(link)
	if err != nil || info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0 {
		return ""
	}
	target, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return call + " " + strings.TrimPrefix(target, "/dev/")
}

// The types of ioctls that can have an effect: those of device-mapper, and those of block devices.
const (
	dmIoctls    = 0xfd
	blockIoctls = 0x12
)

// dmChanges are the names of device-mapper's calls that change something, by number (linux/dm-ioctl.h).
func dmChanges() map[uint64]string {
	return map[uint64]string{
		1: "remove all", 3: "create", 4: "remove", 5: "rename", 6: "resume", 9: "load", 10: "clear", 14: "message", 15: "geometry",
	}
}

// blockChanges are the names of the ioctls of block devices that change something, by number (linux/fs.h).
func blockChanges() map[uint64]string {
	return map[uint64]string{
		93: "set read-only", 95: "reread partitions", 97: "flush buffers", 119: "discard", 125: "discard", 127: "zero",
	}
}

// ioctlEffect is the effect of an ioctl.
func ioctlEffect(tid int, regs unix.PtraceRegs) string {
	kind, number := regs.Rsi>>8&0xff, regs.Rsi&0xff
	if call, ok := blockChanges()[number]; kind == blockIoctls && ok {
		return driveEffect(call, tid, regs)
	}
	call, ok := dmChanges()[number]
	if kind != dmIoctls || !ok {
		return ""
	}
	// struct dm_ioctl has flags at 28, of which the kernel sets 2 when the device is suspended now, and the name at 48.
	reply := make([]byte, 176)
	if _, err := unix.PtracePeekData(tid, uintptr(regs.Rdx), reply); err != nil {
		return call
	}
	if call == "resume" && binary.LittleEndian.Uint32(reply[28:])&2 != 0 {
		call = "suspend"
	}
	name, _, _ := bytes.Cut(reply[48:], []byte{0})
	return fmt.Sprintf("%s %s", call, name)
}

// install puts a seccomp filter into a thread that has stopped before the first instruction of its program: a call of
// effective stops it from then on. The thread makes the call that installs it itself; afterwards nothing of that is left.
func install(tid int) error {
	var before unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &before); err != nil {
		return err
	}
	code := make([]byte, 8)
	if _, err := unix.PtracePeekText(tid, uintptr(before.Rip), code); err != nil {
		return err
	}
	at := before.Rsp&^0xf - 4096 // beyond the red zone of the stack
	filter := effectFilter()
	program := binary.LittleEndian.AppendUint64(nil, uint64(len(filter)/8)) // struct sock_fprog: number of instructions, address
	program = binary.LittleEndian.AppendUint64(program, at+16)
	if _, err := unix.PtracePokeData(tid, uintptr(at), append(program, filter...)); err != nil {
		return err
	}
	call := before
	call.Rax, call.Rdi, call.Rsi, call.Rdx = unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, at
	err := step(tid, call, []byte{0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90}) // syscall
	_, pokeErr := unix.PtracePokeText(tid, uintptr(before.Rip), code)
	return errors.Join(err, pokeErr, unix.PtraceSetRegs(tid, &before))
}

// step has a thread make one system call, whose instruction is put where its next one is.
func step(tid int, regs unix.PtraceRegs, instruction []byte) error {
	if _, err := unix.PtracePokeText(tid, uintptr(regs.Rip), instruction); err != nil {
		return err
	}
	if err := errors.Join(unix.PtraceSetRegs(tid, &regs), unix.PtraceSingleStep(tid)); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("install a filter: wait status %#x: %w", status, errors.Join(err, unix.ESRCH))
	}
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	if result := int64(regs.Rax); result != 0 {
		return fmt.Errorf("install a filter: %w", unix.Errno(-result))
	}
	return nil
}

// effectFilter is the program of the filter, struct sock_filter after struct sock_filter (linux/filter.h): load the number of the
// call, compare it with each of effective, and stop or let pass.
func effectFilter() []byte {
	var program []byte
	instruction := func(code uint16, match, other uint8, k uint32) {
		program = binary.LittleEndian.AppendUint16(program, code)
		program = append(program, match, other)
		program = binary.LittleEndian.AppendUint32(program, k)
	}
	instruction(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, 0) // the number comes first in struct seccomp_data
	calls := effective()
	for i, call := range calls {
		instruction(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, uint8(len(calls)-i), 0, call)
	}
	instruction(unix.BPF_RET|unix.BPF_K, 0, 0, unix.SECCOMP_RET_ALLOW)
	instruction(unix.BPF_RET|unix.BPF_K, 0, 0, unix.SECCOMP_RET_TRACE)
	return program
}
