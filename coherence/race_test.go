//go:build race

package coherence

// raceOn says that the race detector slows everything down, for tests without a goroutine too.
const raceOn = true
