package launch

import (
	"fmt"
	"syscall"
)

// ExitError says which copy failed and how.
type ExitError struct {
	// Rank is the copy's.
	Rank int
	// Status is the exit status, 128 plus the signal's number if a signal ended the copy.
	Status int
	// Signal is the signal that ended the copy, 0 if none did.
	Signal syscall.Signal
	// Passed says that the signal had been sent from here: the copies were asked to end.
	Passed bool
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("rank %d was ended by signal %d (%s)", e.Rank, int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("rank %d ended with status %d", e.Rank, e.Status)
}
