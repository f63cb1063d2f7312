package dsm

import (
	"maps"
	"slices"
	"sync/atomic"

	"pagemesh/locks"
	"pagemesh/pagetable/vm"
)

// A mutex that a program has locked is lent to the program: until somebody else wants it, the program unlocks
// and locks it by itself, in memory that it shares with its node. So to lock again what this program had last
// takes no message to the node either, which would take 400 times as long.

// maxLoans is how many mutexes a program can have on loan in its life. The others it locks by messages.
const maxLoans = 1 << 12

// The states of a loan, in the lowest bits of a word. Of one that is locked the others are the number of the
// goroutine that has locked it.
const (
	loanOver   uint64 = iota // there is none
	loanKept                 // nobody in the program has locked the mutex
	loanLocked               // somebody has
	loanWanted               // somebody has, and must give the mutex back then

	loanStateBits = 2
	loanStates    = 1<<loanStateBits - 1
)

// loanWords is how many words a loan has: its state, the last token that was used, and the program counter of the
// call that locked the mutex last.
const loanWords = 3

// loan is the place of one mutex in the memory between a program and its node. It is of no other mutex ever.
type loan struct {
	words *vm.Words
	index int
}

func newLoans(name string) (*vm.Words, error) { return vm.NewWords(name, loanWords*maxLoans) }

func openLoans(fd int) (*vm.Words, error) { return vm.OpenWords(fd, loanWords*maxLoans) }

func (l loan) state() *atomic.Uint64 { return l.words.Word(loanWords * l.index) }

// token is the last one that was used.
func (l loan) token() *atomic.Uint64 { return l.words.Word(loanWords*l.index + 1) }

// lockedBy notes where the mutex was locked. Who reads that meanwhile may see where it was locked before.
func (l loan) lockedBy(by caller) { l.words.Set(loanWords*l.index+2, uint64(by.site)) }

func lockedState(by caller) uint64 { return by.goroutine<<loanStateBits | loanLocked }

// holder returns who in program p has locked the mutex, if anybody has.
func (l loan) holder(p *program) (by caller, ok bool) {
	s := l.state().Load()
	by = caller{p, s >> loanStateBits, uintptr(l.words.Word(loanWords*l.index + 2).Load())}
	return by, s&loanStates == loanLocked || s&loanStates == loanWanted
}

// lock is the program's: it locks a mutex that is kept.
func (l loan) lock(by caller) (token uint64, ok bool) {
	if !l.state().CompareAndSwap(loanKept, lockedState(by)) {
		return 0, false
	}
	l.lockedBy(by)
	return l.token().Add(1), true
}

// unlock is the program's. It returns false if the mutex must be given back.
func (l loan) unlock() bool {
	s := l.state().Load()
	return s&loanStates == loanLocked && l.state().CompareAndSwap(s, loanKept)
}

// locked reports whether the program has the mutex locked right now.
func (l loan) locked() bool {
	s := l.state().Load() & loanStates
	return s == loanLocked || s == loanWanted
}

// recall is the node's. It returns true if the mutex is back, otherwise the program will give it back.
func (l loan) recall() bool {
	for {
		switch s := l.state().Load(); s & loanStates {
		case loanKept:
			if l.state().CompareAndSwap(loanKept, loanOver) {
				return true
			}
		case loanLocked:
			if l.state().CompareAndSwap(s, s+loanWanted-loanLocked) {
				return false
			}
		default:
			return false
		}
	}
}

// giveBack is the node's, when the program says that it has unlocked a mutex that is wanted. It returns false if
// the program was not to give it back.
func (l loan) giveBack() bool {
	s := l.state().Load()
	return s&loanStates == loanWanted && l.state().CompareAndSwap(s, loanOver)
}

// lentMutex is what the node keeps of a mutex on loan.
type lentMutex struct {
	loan
	name    string
	waiter  locks.Waiter // of the one who has locked it first
	program *program
	// flushing: the program has it no more, but the homes may lack what was written under it.
	flushing bool
}

// lend lends a mutex that was locked through m, with that token, unless somebody waits for it or the program says
// that it has unlocked it, before it could know that it has it.
func (e *syncEngine) lend(m *nodeMutex, token uint64, l loan) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil || e.idle != nil || m.holder == 0 || e.m.Wanted(m.id) {
		return false
	}
	l.token().Store(token)
	by := m.list[0].by
	l.lockedBy(by)
	l.state().Store(lockedState(by))
	lent := &lentMutex{loan: l, name: m.name, waiter: m.holder, program: by.program}
	e.lent[m.id] = lent
	e.recent.CompareAndSwap(m, nil)
	e.recentLoan.Store(lent)
	m.holder = 0
	e.held.clear(&m.holders)
	return true
}

// recall ends the loan of a mutex, if there is one, now or when the program unlocks it. What was written under it
// is released before. The caller holds e.mu.
func (e *syncEngine) recall(id locks.ID) {
	l := e.lent[id]
	switch {
	case l == nil || !l.recall():
	case e.err != nil:
		e.takeBack(id, l, false)
	default:
		e.releaseLent(id, l)
	}
}

// releaseLent releases what was written under a mutex that is back from a program, and takes it back. The caller holds
// e.mu.
func (e *syncEngine) releaseLent(id locks.ID, l *lentMutex) {
	r := e.s.intervals.end()
	defer r.write()
	if r.early {
		e.takeBack(id, l, false)
		return
	}
	l.flushing = true
	// The acknowledgements may have come since: even then not now, under e.mu.
	e.s.intervals.later(r.number, func() { e.do(func() { e.takeBack(id, l, false) }) })
}

// takeBack returns a mutex to the machine, unless that has been done. died says that the program died while it
// had it locked. The caller holds e.mu.
func (e *syncEngine) takeBack(id locks.ID, l *lentMutex, died bool) {
	if e.lent[id] != l {
		return
	}
	delete(e.lent, id)
	e.recentLoan.CompareAndSwap(l, nil)
	e.giveBack(id, l.waiter, locks.Token(l.token().Load()), died)
}

// recallAll ends all loans like recall.
func (e *syncEngine) recallAll() {
	for _, id := range slices.Collect(maps.Keys(e.lent)) {
		e.recall(id)
	}
}

// givenBack takes back a mutex that a program was told to give back, or returns false if it wasn't.
func (e *syncEngine) givenBack(id locks.ID, words *vm.Words) (ok bool) {
	e.do(func() {
		l := e.lent[id]
		if ok = l != nil && l.words == words && l.giveBack(); ok {
			e.takeBack(id, l, false)
		}
	})
	return ok
}

// endLoans takes back all mutexes of a program that has ended, and returns the names of those that it had
// locked: the next holders of these hear of it. The caller has released what the program has written.
func (e *syncEngine) endLoans(words *vm.Words) (locked []string) {
	e.do(func() {
		for id, l := range e.lent {
			if l.words != words {
				continue
			}
			died := l.state().Swap(loanOver) != loanKept && !l.flushing
			if died {
				locked = append(locked, l.name)
			}
			e.takeBack(id, l, died)
		}
	})
	return locked
}
