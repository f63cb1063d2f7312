package ipc

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
)

// Add implements Counter, under a lock of the file, without which one of two additions would be lost.
func (f *files) Add(delta uint64) uint64 {
	fd := int(descriptor(f.items))
	err := syscall.Flock(fd, syscall.LOCK_EX)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(fd, syscall.LOCK_EX)
	}
	var count [8]byte
	if err == nil {
		_, err = f.items.ReadAt(count[:], fileCount)
	}
	sum := binary.LittleEndian.Uint64(count[:]) + delta
	if err == nil || errors.Is(err, io.EOF) { // it ends where nobody has counted yet
		_, err = f.items.WriteAt(binary.LittleEndian.AppendUint64(nil, sum), fileCount)
	}
	if err = errors.Join(err, syscall.Flock(fd, syscall.LOCK_UN)); err != nil {
		panic(err) // a file that could be written can't be written any more
	}
	return sum
}
