package dsm

import (
	"fmt"
	"sync"

	"pagemesh/dsm/trace"
	"pagemesh/locks"
	"pagemesh/pagetable"
)

// lockNames are the names of the locks that events tell of.
type lockNames struct {
	mu    sync.Mutex // guards what follows
	list  []trace.Name
	known map[pagetable.PageID]bool
}

// maxLockNames bounds them. Any more go by their numbers.
const maxLockNames = 1 << 16

func (l *lockNames) add(id pagetable.PageID, name locks.LockName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[id] || len(l.list) == maxLockNames {
		return
	}
	if l.known == nil {
		l.known = map[pagetable.PageID]bool{}
	}
	l.known[id] = true
	l.list = append(l.list, trace.Name{ID: id, Text: fmt.Sprintf("%s %q", name.Kind, name.Name)})
}

// since returns the names after the first after ones, at most most of them.
func (l *lockNames) since(after uint32, most int) []trace.Name {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.list[min(int(after), len(l.list)):]
	return rest[:min(len(rest), most)]
}
