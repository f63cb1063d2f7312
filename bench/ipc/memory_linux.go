package ipc

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pagemesh/pagetable/vm"
)

// memory is a Link of a file that both processes map: words that count items, acknowledgements, and what
// both add, in cache lines of their own, and an item. Both sides poll.
type memory struct {
	b    []byte
	done uint64 // items
}

const (
	memorySent  = 0
	memoryTaken = 64
	memoryCount = 128
	memoryItem  = 192
	memorySize  = memoryItem + MaxItem
)

// shared returns the Listen or Dial of memory in a file in the directory root, or the one where both ends
// meet if it is "". The file has no name any more once both have mapped it.
func shared(root string, create bool) func(dir string) (Link, error) {
	return func(dir string) (Link, error) {
		path := filepath.Join(dir, "mapped")
		if root != "" {
			path = filepath.Join(root, strings.ReplaceAll(dir, "/", "-"))
		}
		flag := os.O_RDWR
		if create {
			flag |= os.O_CREATE | os.O_EXCL
		}
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if create {
			err = f.Truncate(memorySize)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return nil, err
		}
		m := &memory{}
		m.b, err = syscall.Mmap(int(f.Fd()), 0, memorySize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		return m, err
	}
}

func (m *memory) Send(item []byte) error {
	copy(m.b[memoryItem:], item)
	m.done++
	vm.StoreUint64(m.b, memorySent, m.done)
	m.await(memoryTaken)
	return nil
}

func (m *memory) Serve(n int, item []byte, f func(item []byte)) error {
	for range n {
		m.done++
		m.await(memorySent)
		copy(item, m.b[memoryItem:])
		f(item)
		vm.StoreUint64(m.b, memoryTaken, m.done)
	}
	return nil
}

// Add implements Counter.
func (m *memory) Add(delta uint64) uint64 { return vm.AddUint64(m.b, memoryCount, delta) }

// await returns when the word at off has come as far as this side.
func (m *memory) await(off int) {
	for i := 0; vm.LoadUint64(m.b, off) != m.done; i++ {
		rest(i)
	}
}

func (m *memory) Close() error { return syscall.Munmap(m.b) }
