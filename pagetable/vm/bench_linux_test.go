//go:build amd64 || arm64

package vm_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// The benchmarks measure what a fault costs before any network: the floor under everything that is
// mapped. The faulting program is another process; times are its own, per fault.

// benchPages is the number of faults between two interruptions of a measurement.
const benchPages = 4096

// placing says on which processor node and program run; -1 is any.
type placing struct {
	name          string
	node, program int
}

var (
	unpinned = placing{"unpinned", -1, -1}
	oneCore  = placing{"one-core", 0, 0}
	twoCores = placing{"two-cores", 0, 1}
)

// apply pins the node, which is the test, and the program until the end of the benchmark.
func (pl placing) apply(b *testing.B, p *program) {
	if pl.node < 0 {
		return
	}
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatal(err)
	}
	if !before.IsSet(pl.node) || !before.IsSet(pl.program) {
		b.Skip("not allowed on two processors")
	}
	b.Cleanup(func() { pin(b, os.Getpid(), &before) })
	for pid, cpu := range map[int]int{os.Getpid(): pl.node, p.pid(): pl.program} {
		var set unix.CPUSet
		set.Set(cpu)
		pin(b, pid, &set)
	}
}

// pin places all threads that the process has. Later ones inherit it.
func pin(b *testing.B, pid int, set *unix.CPUSet) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err == nil {
			err = unix.SchedSetaffinity(id, set)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			b.Fatal(err)
		}
	}
}

// A page that the node has is mapped: the round trip of an event and its answer.
func BenchmarkUffdRoundTrip(b *testing.B) {
	benchFaults(b, func(pg *pager) {
		for i := range pg.pages {
			pg.lower(i, pagetable.NoAccess)
			vm.StoreUint64(pg.s.Bytes(uint64(i*pg.size), 8), 0, 1)
		}
	}, "read")
}

// A page that nobody ever touched is made and mapped.
func BenchmarkUffdZeroPage(b *testing.B) {
	benchFaults(b, func(pg *pager) {
		for i := range pg.pages {
			pg.lower(i, pagetable.NoAccess)
			pg.pages[i].kept = nil
		}
	}, "read")
}

// A page that can be read is written.
func BenchmarkUffdUpgrade(b *testing.B) {
	benchFaults(b, func(pg *pager) {
		for i := range pg.pages {
			pg.fault(vm.Fault{Addr: pg.at.Start + pagetable.Addr(i*pg.size), Want: pagetable.ReadAccess})
			pg.lower(i, pagetable.ReadAccess)
		}
	}, "write")
}

// benchFaults measures faults of a program on pages that prepare has brought into the state in which
// they start.
func benchFaults(b *testing.B, prepare func(*pager), command string) {
	for _, pl := range []placing{unpinned, oneCore, twoCores} {
		b.Run(pl.name, func(b *testing.B) {
			pg := newPager(b, benchPages, os.Getpagesize())
			p := pg.start()
			pl.apply(b, p)
			var total time.Duration
			faults := 0
			for faults < b.N {
				prepare(pg)
				n := min(b.N-faults, benchPages)
				total += time.Duration(p.ask("%s 0 %d %d", command, pg.size, n))
				faults += n
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(faults), "ns/op")
		})
	}
}

// What the node does to take a written page away: freeze, copy out, punch the hole. A program that is
// busy on the other core has to be interrupted there, to forget its translations.
func BenchmarkUffdRevoke(b *testing.B) {
	for _, busy := range []bool{false, true} {
		b.Run(fmt.Sprintf("busy=%v", busy), func(b *testing.B) {
			pg := newPager(b, benchPages, os.Getpagesize())
			p := pg.start()
			twoCores.apply(b, p)
			var total time.Duration
			for done := 0; done < b.N; {
				n := min(b.N-done, benchPages)
				p.ask("write 0 %d %d", pg.size, n)
				if busy {
					p.ask("spin")
				}
				start := time.Now()
				for i := range n {
					pg.lower(i, pagetable.NoAccess)
				}
				total += time.Since(start)
				p.ask("rest")
				done += n
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}

// What the source line of one fault costs.
func BenchmarkUffdProgramCounter(b *testing.B) {
	pg := newPager(b, 1, os.Getpagesize())
	p := startProgram(b, pg.s, pg.at)
	a := p.start("load 0")
	f := p.fault()
	seen := 0
	for b.Loop() {
		_, _, ok, err := vm.ProgramCounter(p.pid(), f.Thread)
		if err != nil {
			b.Fatal(err)
		}
		if ok {
			seen++
		}
	}
	b.ReportMetric(float64(seen)/float64(b.N), "seen/op")
	pg.fault(f)
	a.wait()
}
