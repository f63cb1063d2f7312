package dsm

import (
	"bufio"
	"cmp"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// This file finds out which line of an attached program waits for a page. A trap says which thread
// waits; the kernel says where it stands; the program's executable says which line that is.

// sampleEvery is how often at most a program is asked where one of its threads stands, and sampleShare
// which part of its time that may take. Asking takes some 10 µs, in which the thread waits anyway but its
// page is not on its way yet.
const (
	sampleEvery = time.Millisecond
	sampleShare = 200
)

// maxSites bounds the sites that are kept of one page.
const maxSites = 16

// seenSite is a place in a program that was seen waiting for a page.
type seenSite struct {
	site   uint32 // see sites
	access pagetable.Access
}

// symbols are the functions and lines of an executable.
type symbols struct {
	file  os.FileInfo // tells executables apart
	base  uint64      // where the executable wants to be loaded
	table *gosym.Table
	sizes frameSizes
}

// symbolCache holds the symbols of executables, of which the programs of one node mostly share one.
type symbolCache struct {
	mu   sync.Mutex
	list []*symbols
}

// load returns the symbols of a running process.
func (c *symbolCache) load(pid int) (*symbols, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.list {
		if os.SameFile(s.file, info) {
			return s, nil
		}
	}
	s, err := readSymbols(f)
	if err != nil {
		return nil, err
	}
	s.file = info
	c.list = append(c.list, s)
	return s, nil
}

func readSymbols(f *os.File) (*symbols, error) {
	exe, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	text, lines := exe.Section(".text"), exe.Section(".gopclntab")
	if text == nil || lines == nil {
		return nil, errors.New("it is not a Go program")
	}
	data, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, err
	}
	s := &symbols{table: table, sizes: readFrameSizes(data, text.Addr)}
	if i := slices.IndexFunc(exe.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_LOAD }); i >= 0 {
		s.base = exe.Progs[i].Vaddr &^ (exe.Progs[i].Align - 1)
	}
	return s, nil
}

// loadedAt returns where a running process has its executable.
func loadedAt(pid int) (uint64, error) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return 0, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); strings.HasSuffix(line, exe) {
			start, _, _ := strings.Cut(line, "-")
			return strconv.ParseUint(start, 16, 64)
		}
	}
	return 0, fmt.Errorf("%s is not mapped", exe)
}

// sampler asks a program where its threads stand, not too often.
type sampler struct {
	pid     int
	symbols *symbols
	shift   uint64 // what the loader has added to the executable's addresses
	always  bool   // every fault is sampled: races are looked for

	mu   sync.Mutex // guards what follows
	next time.Time
}

func newSampler(c *symbolCache, pid int) (*sampler, error) {
	s, err := c.load(pid)
	if err != nil {
		return nil, err
	}
	at, err := loadedAt(pid)
	if err != nil {
		return nil, err
	}
	return &sampler{pid: pid, symbols: s, shift: at - s.base}, nil
}

// sample returns where the thread of a fault stands, if it is time to ask. A nil sampler never asks.
func (sm *sampler) sample(f vm.Fault) (place, bool) {
	if sm == nil {
		return place{}, false
	}
	start := time.Now()
	if !sm.due(start) {
		return place{}, false
	}
	defer sm.rest(start)
	pc, sp, ok, err := vm.ProgramCounter(sm.pid, f.Thread)
	if err == nil && !ok { // the thread is about to sleep
		pc, sp, ok, err = vm.ProgramCounter(sm.pid, f.Thread)
	}
	if err != nil || !ok {
		return place{}, false
	}
	return place{of: sm.symbols, pc: sm.caller(pc, sp) - sm.shift}, true
}

func (sm *sampler) due(now time.Time) bool {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	if now.Before(sm.next) && !sm.always {
		return false
	}
	sm.next = now.Add(sampleEvery)
	return true
}

// rest notes how long a sample has taken that began at start.
func (sm *sampler) rest(start time.Time) {
	sm.mu.Lock()
	defer sm.mu.Unlock()
	sm.next = start.Add(max(sampleEvery, sampleShare*time.Since(start)))
}

// maxCallers bounds how many calls up an access is followed.
const maxCallers = 16

// caller returns where a program makes the access that its thread waits for at pc: if that is in the runtime,
// which copies, clears and compares, or in this library, the call of it. Where that can't be told it returns pc.
func (sm *sampler) caller(pc, sp uint64) uint64 {
	at := pc - sm.shift
	for range maxCallers {
		fn := sm.symbols.table.PCToFunc(at)
		if fn == nil {
			return pc
		}
		if !ours(fn.Name) {
			return at + sm.shift
		}
		size, ok := sm.symbols.sizes.at(at)
		if !ok || runtime.GOARCH != "amd64" { // elsewhere the return address need not be on the stack
			return pc
		}
		ret, err := vm.ReadWord(sm.pid, sp+size)
		if err != nil {
			return pc
		}
		sp += size + 8
		at = ret - sm.shift - 1 // within the call
	}
	return pc
}

// ours reports whether a function is the runtime's or this library's, so that it tells users nothing of their
// programs.
func ours(function string) bool {
	for _, p := range []string{"runtime.", "internal/", "memeq", "sync/atomic.", "pagemesh/dsm.", "pagemesh/dsm/shared.", "pagemesh/pagetable"} {
		if strings.HasPrefix(function, p) {
			return true
		}
	}
	return false
}

// sightings are how often a site was seen waiting for a page, and the words at which it did.
type sightings struct {
	times      uint64
	start, end int // bytes of the page
}

// sampled counts a sample of one page.
func (t *traffic) sampled(wt *waiter) {
	if t.sites == nil {
		t.sites = map[seenSite]sightings{}
	}
	at := seenSite{wt.site, wt.want}
	s, known := t.sites[at]
	if !known && len(t.sites) == maxSites {
		return
	}
	const word = 8
	start, end := wt.off&^(word-1), (wt.off+wt.size+word-1)&^(word-1)
	if known {
		start, end = min(s.start, start), max(s.end, end)
	}
	t.sites[at] = sightings{s.times + 1, start, end}
}

// siteStats describes the sites of a page, the most frequent first.
func (t *traffic) siteStats(s *node) []SiteStats {
	list := []SiteStats{}
	for seen, n := range t.sites {
		st := SiteStats{Node: s.self, Access: seen.access.String(), Samples: n.times, Line: "unknown", Start: n.start, End: n.end}
		if line, function := s.sites.where(seen.site); line != "" {
			st.Line, st.Function = line, function
		}
		list = append(list, st)
	}
	slices.SortFunc(list, compareSites)
	return list
}

func compareSites(a, b SiteStats) int {
	return cmp.Or(cmp.Compare(b.Samples, a.Samples), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Node, b.Node))
}
