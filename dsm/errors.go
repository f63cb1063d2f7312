package dsm

import "errors"

// Errors on which callers decide. All of them arrive wrapped with what was being done and where; test
// with errors.Is.
var (
	// ErrClosed is returned by everything after Close or Leave, and to whoever waited when it happened.
	ErrClosed = errors.New("space is closed")
	// ErrNodeLost says that a node that was needed is gone: it held the only copy of a page, or was
	// the home of a page, or a party of a barrier. It is also the reason of Space.Err in a node that the
	// others have declared lost, and of everything where too few members are left to agree.
	ErrNodeLost = errors.New("node lost")
	// ErrOwnerDied is returned by Mutex.Lock to a caller that holds the mutex: whoever held it before died with
	// it, or may have. See Mutex.
	ErrOwnerDied = errors.New("the owner before died")
	// ErrTimeout says that an access without a context, or with context.Background(), waited longer than
	// Config.FaultTimeout for a page.
	ErrTimeout = errors.New("page did not arrive in time")
	// ErrMemory says that a page can't come because the node's Config.MemoryLimit is reached by pages that
	// have no other place to be.
	ErrMemory = errors.New("memory limit reached")
	// ErrRange says that an access lies outside its region, in part or as a whole.
	ErrRange = errors.New("outside the region")
	// ErrMisaligned says that a word operation's offset is not a multiple of 8.
	ErrMisaligned = errors.New("misaligned")
	// ErrPointers says that a type can't live in shared memory because it holds Go pointers.
	ErrPointers = errors.New("type holds Go pointers")
	// ErrMismatch says that a region exists with other options than the ones asked for, or that a
	// barrier or a semaphore is used with another number of parties or permits.
	ErrMismatch = errors.New("exists with other options")
	// ErrNotExist says that there is no region of that name and no size was given to create it.
	ErrNotExist = errors.New("no such region")
	// ErrNotMapped says that memory can't be reached by plain loads and stores: the program is not attached
	// to a node (see Config.Attach), or the region's pages are smaller than the system's.
	ErrNotMapped = errors.New("not mapped")
	// ErrConsistency says that an operation needs a sequential region.
	ErrConsistency = errors.New("not in a release region")
	// ErrDeadlock says that whoever has what a Lock waits for waits, itself or through others, for what the caller
	// has. The error is a *DeadlockError, which says who and where.
	ErrDeadlock = errors.New("deadlock")
	// ErrJoin says that the node could not become a member; the text says why.
	ErrJoin = errors.New("can't join")
)
