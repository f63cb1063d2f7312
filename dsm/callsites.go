package dsm

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
)

const (
	// maxCalls is how many frames, from the innermost on, are looked at for one outside of this package.
	maxCalls = 16
	// siteCacheBits and siteCacheProbes are the size of a siteCache and how far an entry may be from its place.
	siteCacheBits   = 12
	siteCacheProbes = 8
	// insideCall stands for a call of this package or the runtime, behind which the program's own is to be found.
	insideCall = ^uint32(0)
)

// siteCache remembers the sites of the calls of this process, so that a fault looks its line up without a lock
// and without the symbol table. It is a hash table whose entries never change.
type siteCache struct {
	entries [1 << siteCacheBits]siteEntry
}

type siteEntry struct {
	pc   atomic.Uintptr // that a call returns to; 0: there is no entry; set after site
	site atomic.Uint32
}

func (t *siteCache) entry(pc uintptr, probe int) *siteEntry {
	return &t.entries[(uint64(pc)*0x9e3779b97f4a7c15>>(64-siteCacheBits)+uint64(probe))%(1<<siteCacheBits)]
}

func (t *siteCache) get(pc uintptr) (site uint32, ok bool) {
	for probe := range siteCacheProbes {
		e := t.entry(pc, probe)
		switch e.pc.Load() {
		case pc:
			return e.site.Load(), true
		case 0:
			return 0, false
		}
	}
	return 0, true // there are too many: it stays unknown
}

// put is called by one goroutine at a time.
func (t *siteCache) put(pc uintptr, site uint32) {
	for probe := range siteCacheProbes {
		e := t.entry(pc, probe)
		if was := e.pc.Load(); was == 0 || was == pc {
			e.site.Store(site)
			e.pc.Store(pc)
			return
		}
	}
}

// askedAt is the key of the site of a program that has asked for something, in the context of what is done for it.
type askedAt struct{}

// of returns the line of the program that what is done with ctx is done for.
func (t *sites) of(ctx context.Context) uint32 {
	if site, ok := ctx.Value(askedAt{}).(uint32); ok {
		return site
	}
	return t.here()
}

// here returns the line of the program that has called into this package, if this goroutine is the program's.
func (t *sites) here() uint32 {
	if !recording {
		return 0
	}
	var pcs [maxCalls]uintptr
	n := callers(&pcs)
	site, ok := t.first(pcs[:n])
	if !ok {
		t.learn(slices.Clone(pcs[:n]))
		site, _ = t.first(pcs[:n])
	}
	return site
}

// programPC returns where the innermost call into this package returns to, 0 if this goroutine is not the program's.
func programPC() uintptr {
	var pcs [maxCalls]uintptr
	n := runtime.Callers(2, pcs[:])
	for frames := runtime.CallersFrames(pcs[:n]); ; {
		f, more := frames.Next()
		switch {
		case !ours(f.Function):
			return f.PC + 1
		case !more:
			return 0
		}
	}
}

// first returns the site of the innermost call that is the program's, 0 if there is none. It returns false if a
// call is new.
func (t *sites) first(pcs []uintptr) (site uint32, ok bool) {
	for _, pc := range pcs {
		site, ok := t.calls.get(pc)
		if !ok || site != insideCall {
			return site, ok
		}
	}
	return 0, true
}

// learn resolves the calls of this goroutine's stack. A frame may hold several that are inlined: runtime.Callers
// lists them after the one that returns to the frame's program counter.
func (t *sites) learn(pcs []uintptr) {
	of := make(map[uintptr]uint32, len(pcs))
	var all [4 * maxCalls]uintptr
	frame := uintptr(0)
	for _, pc := range all[:runtime.Callers(2, all[:])] {
		if slices.Contains(pcs, pc) {
			frame = pc
		}
		if of[frame] == 0 {
			of[frame] = t.resolve(pc)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pc := range pcs {
		if of[pc] == 0 {
			of[pc] = insideCall // a wrapper that the compiler has made
		}
		t.calls.put(pc, of[pc])
	}
}

// resolve returns the site of the call that returns to pc, 0 if it is ours.
func (t *sites) resolve(pc uintptr) uint32 {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if f.Function == "" || ours(f.Function) {
		return 0
	}
	return t.number(place{line: fmt.Sprintf("%s:%d", f.File, f.Line), function: f.Function})
}
