package dsm

import (
	"bytes"
	"runtime"
	"strconv"
)

// caller is a goroutine that uses a lock, and the call by which it does.
type caller struct {
	program   *program // the attached program that it is in; nil: this process
	goroutine uint64   // its number, which no other goroutine of its process ever has; 0 if it is not known
	site      uintptr  // program counter of the call, in its process; 0 if it is not known
}

// question returns q with who asks it.
func (by caller) question(q question) question {
	q.goroutine, q.site = by.goroutine, uint64(by.site)
	return q
}

// goroutineWord is which word of a goroutine's descriptor in the runtime holds its number; 0 if that is not
// known. The place depends on the version of Go, so it is looked for.
var goroutineWord = findGoroutineWord()

// descriptorWords is how many words of a descriptor may be read: less than any version of it has.
const descriptorWords = 40

// goroutine returns the number of the goroutine that calls it.
func goroutine() uint64 {
	if goroutineWord == 0 {
		return printedGoroutine()
	}
	return descriptorWord(goroutineWord)
}

// printedGoroutine returns what goroutine does, in five hundred times the time.
func printedGoroutine() uint64 {
	var b [32]byte
	s := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(s, []byte(" "))
	n, _ := strconv.ParseUint(string(digits), 10, 64)
	return n
}

// findGoroutineWord returns the one word that holds the number in each of some goroutines, or 0.
func findGoroutineWord() int {
	const goroutines = 4
	var hits [descriptorWords]int
	for range goroutines {
		done := make(chan struct{})
		go func() {
			defer close(done)
			n := printedGoroutine()
			for i := 1; i < descriptorWords && hasDescriptor; i++ {
				if descriptorWord(i) == n {
					hits[i]++
				}
			}
		}()
		<-done
	}
	found := 0
	for i, n := range hits {
		switch {
		case n < goroutines:
		case found != 0:
			return 0 // not the only one
		default:
			found = i
		}
	}
	return found
}
