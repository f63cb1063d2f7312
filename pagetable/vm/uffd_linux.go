//go:build amd64 || arm64

package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
)

// This file is the part of <linux/userfaultfd.h> that is used here. The request numbers are those of
// the architectures with the generic encoding of ioctl.

const (
	uffdAPI          = 0xaa
	uffdUserModeOnly = 1      // flag of userfaultfd(2), Linux 5.11
	uffdNew          = 0xaa00 // on /dev/userfaultfd, Linux 6.1

	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
	uffdioWake         = 0x8010aa02
	uffdioCopy         = 0xc028aa03
	uffdioWriteProtect = 0xc018aa06
	uffdioContinue     = 0xc020aa07
	uffdioPoison       = 0xc020aa08

	registerMissing = 1
	registerWP      = 2
	registerMinor   = 4

	writeProtectOn = 1 // mode of uffdioWriteProtect; it wakes nobody
	fillWP         = 2 // mode of uffdioContinue and uffdioCopy: map without the right to write

	eventPagefault = 0x12
	flagWrite      = 1
	flagWP         = 2
	flagMinor      = 4
)

type uffdAPIArg struct{ api, features, ioctls uint64 }

type uffdRegisterArg struct{ start, len, mode, ioctls uint64 }

type uffdRangeArg struct{ start, len uint64 }

type uffdWriteProtectArg struct{ start, len, mode uint64 }

// uffdFillArg serves uffdioContinue and uffdioPoison: done is the number of bytes that were mapped, or
// an error number if there are none.
type uffdFillArg struct {
	start, len, mode uint64
	done             int64
}

// uffdMsg is one event, and its argument if it is a page fault.
type uffdMsg struct {
	event   uint8
	_       [7]byte
	flags   uint64
	address uint64
	thread  uint32
	_       uint32
}

// uffdCopyArg makes frames with the bytes at source and maps them.
type uffdCopyArg struct {
	start, source, len, mode uint64
	done                     int64
}

// ioctl makes a system call that never waits. The runtime isn't told of it: it would take the processor away
// from the goroutine if the kernel ran another thread in between, such as the one that the call wakes.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// handshake asks for exactly these features. It works once per descriptor.
func handshake(fd int, features uint64) (available uint64, err error) {
	arg := uffdAPIArg{api: uffdAPI, features: features}
	err = ioctl(fd, uffdioAPI, unsafe.Pointer(&arg))
	return arg.features, err
}

// register has the descriptor trap accesses to r, which must be mapped. It returns the operations that
// it offers there, as a set of bits by the low byte of their numbers.
func register(fd int, r pagetable.Range) (operations uint64, err error) {
	arg := uffdRegisterArg{start: uint64(r.Start), len: r.Len(), mode: registerMissing | registerWP | registerMinor}
	err = ioctl(fd, uffdioRegister, unsafe.Pointer(&arg))
	return arg.ioctls, err
}
