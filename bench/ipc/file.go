package ipc

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// files is a Link of two files that are written and read: one with a count of items, an item, and what both add,
// one with the count of acknowledgements. Both sides poll.
type files struct {
	items, acks *os.File
	done        uint64 // items
}

// Offsets in the file of items, whose first word counts them.
const (
	fileItem  = 8
	fileCount = fileItem + MaxItem
)

func createFiles(dir string) (Link, error) { return openBoth(dir, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func openFiles(dir string) (Link, error) { return openBoth(dir, os.O_RDWR) }

func openBoth(dir string, flag int) (Link, error) {
	items, err := os.OpenFile(filepath.Join(dir, "items.file"), flag, 0o600)
	if err != nil {
		return nil, err
	}
	acks, err := os.OpenFile(filepath.Join(dir, "acks.file"), flag, 0o600)
	return &files{items: items, acks: acks}, err
}

func (f *files) Send(item []byte) error {
	if _, err := f.items.WriteAt(item, fileItem); err != nil {
		return err
	}
	f.done++
	if err := tell(f.items, f.done); err != nil {
		return err
	}
	f.await(f.acks)
	return nil
}

func (f *files) Serve(n int, item []byte, take func(item []byte)) error {
	for range n {
		f.done++
		f.await(f.items)
		if _, err := f.items.ReadAt(item, fileItem); err != nil {
			return err
		}
		take(item)
		if err := tell(f.acks, f.done); err != nil {
			return err
		}
	}
	return nil
}

// tell writes a count to the start of a file.
func tell(f *os.File, count uint64) error {
	_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, count), 0)
	return err
}

// await returns when the count at the start of a file has come as far as this side.
func (f *files) await(file *os.File) {
	var count [8]byte
	for i := 0; binary.LittleEndian.Uint64(count[:]) != f.done; i++ {
		rest(i)
		_, _ = file.ReadAt(count[:], 0) // it may be empty yet
	}
}

// rest lets others run after the i-th poll that was in vain: for long if there were many.
func rest(i int) {
	if i < 1000 {
		runtime.Gosched()
	} else {
		time.Sleep(20 * time.Microsecond)
	}
}

func (f *files) Close() error { return errors.Join(f.items.Close(), f.acks.Close()) }
