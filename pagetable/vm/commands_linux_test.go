//go:build amd64 || arm64

package vm_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pagemesh/pagetable"
	"pagemesh/pagetable/vm"
)

// This file runs in the programs that the tests start.

const (
	collectEnv  = "PAGEMESH_VM_TEST_COLLECT"   // set: collect garbage without end
	userModeEnv = "PAGEMESH_VM_TEST_USER_MODE" // set: forgo the full mode
)

func runProgram(region string) error {
	conn, err := unixConn(3)
	if err != nil {
		return err
	}
	var start, size uint64
	if _, err := fmt.Sscan(region, &start, &size); err != nil {
		return err
	}
	p := &attached{conn: conn, at: pagetable.Range{Start: pagetable.Addr(start), End: pagetable.Addr(start + size)}}
	if err := p.attach(); err != nil {
		return err
	}
	if os.Getenv(collectEnv) != "" {
		go collectForever()
	}
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		v, err := p.perform(strings.Fields(line))
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, v)
	}
}

// attached is the state of a program.
type attached struct {
	conn   *net.UnixConn
	at     pagetable.Range
	window *vm.Window
	memfd  int
	mem    []byte
	begun  chan int64  // the result of command begin
	busy   atomic.Bool // a thread spins
}

func (p *attached) attach() error {
	var buf [1]byte
	_, fds, err := vm.ReceiveDescriptors(p.conn, buf[:])
	if err != nil {
		return err
	}
	p.window, err = vm.NewWindow(vm.Options{UserModeOnly: os.Getenv(userModeEnv) != ""})
	if err != nil {
		return err
	}
	p.memfd = fds[0]
	if p.mem, err = p.window.Map(p.memfd, p.at); err != nil {
		return err
	}
	return p.sendTrap()
}

func (p *attached) sendTrap() error {
	return vm.SendDescriptors(p.conn, []byte{'w'}, p.window.Descriptor())
}

// collectForever keeps the garbage collector busy, which stops all goroutines again and again.
func collectForever() {
	for {
		runtime.GC()
	}
}

func (p *attached) perform(words []string) (int64, error) {
	args := make([]int, len(words)-1)
	for i, w := range words[1:] {
		var err error
		if args[i], err = strconv.Atoi(w); err != nil {
			return 0, err
		}
	}
	switch words[0] {
	case "begin": // a load that another command waits for
		p.begun = make(chan int64)
		go func() { p.begun <- int64(vm.LoadUint64(p.mem, args[0])) }()
		return 0, nil
	case "end":
		return <-p.begun, nil
	case "send":
		return 0, p.sendTrap()
	case "pipe": // off n: a system call reads shared memory
		return writeToPipe(p.mem[args[0]:][:args[1]]), nil
	case "spin":
		p.busy.Store(true)
		go func() {
			for p.busy.Load() {
			}
		}()
		return 0, nil
	case "rest":
		p.busy.Store(false)
		return 0, nil
	case "exec":
		return 0, exec.Command("/bin/sh", "-c", "exit 0").Run()
	case "heal": // off n
		start := p.at.Start + pagetable.Addr(args[0])
		return 0, p.window.Heal(pagetable.Range{Start: start, End: start + pagetable.Addr(args[1])})
	case "usurp": // puts a file without bytes at the place of the shared memory, under the same trap
		return 0, p.usurp()
	case "remap": // unmaps, maps again
		return 0, p.remap()
	}
	return commands[words[0]](p.mem, args), nil
}

func (p *attached) usurp() error {
	if err := p.window.Unmap(p.at); err != nil {
		return err
	}
	at := unsafe.Add(unsafe.Pointer(nil), uintptr(p.at.Start))
	fd, err := unix.MemfdCreate("empty", 0)
	if err != nil {
		return err
	}
	_, err = unix.MmapPtr(fd, 0, at, uintptr(p.at.Len()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		return err
	}
	return vm.Register(p.window.Descriptor(), p.at)
}

func (p *attached) remap() (err error) {
	if err := p.window.Unmap(p.at); err != nil {
		return err
	}
	p.mem, err = p.window.Map(p.memfd, p.at)
	return err
}

// commands are what a program does with its memory; most get an offset first.
var commands = map[string]func(mem []byte, a []int) int64{
	"load":  func(mem []byte, a []int) int64 { return int64(vm.LoadUint64(mem, a[0])) },
	"store": func(mem []byte, a []int) int64 { store(mem[a[0]:], uint64(a[1])); return 0 },
	"add":   func(mem []byte, a []int) int64 { return add(mem[a[0]:], a[1], a[2]) },
	"read":  func(mem []byte, a []int) int64 { return readEach(mem[a[0]:], a[1], a[2]) },
	"write": func(mem []byte, a []int) int64 { return writeEach(mem[a[0]:], a[1], a[2]) },
	"fan":   func(mem []byte, a []int) int64 { return fan(mem, a[0], a[1]) },
	"storm": func(mem []byte, a []int) int64 { return storm(mem, a[0], a[1]) },
	"catch": func(mem []byte, a []int) int64 { return catch(mem[a[0]:][:a[1]]) },
}

// store writes a word by a plain instruction: the race detector reads before an atomic one.
func store(mem []byte, v uint64) { vm.Cast[uint64](mem)[0] = v }

// add adds 1 to a word, so many times from so many threads.
func add(mem []byte, times, threads int) int64 {
	word := &vm.Cast[int64](mem)[0]
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for range times {
				atomic.AddInt64(word, 1)
			}
		})
	}
	wg.Wait()
	return 0
}

// readEach reads one byte every stride and returns the nanoseconds that it took.
//
//go:noinline
func readEach(mem []byte, stride, times int) int64 {
	start := time.Now()
	sum := byte(0)
	for i := range times {
		sum += mem[i*stride]
	}
	d := time.Since(start)
	runtime.KeepAlive(sum)
	return int64(d)
}

// writeEach is readEach by writing.
func writeEach(mem []byte, stride, times int) int64 {
	start := time.Now()
	for i := range times {
		mem[i*stride]++
	}
	return int64(time.Since(start))
}

// fan reads one word every stride, each by a thread of its own, and returns their sum.
func fan(mem []byte, stride, times int) int64 {
	var wg sync.WaitGroup
	var sum atomic.Uint64
	for i := range times {
		wg.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			sum.Add(vm.LoadUint64(mem, i*stride))
		})
	}
	wg.Wait()
	return int64(sum.Load())
}

// storm fills the memory from two threads, each its half, in each of the ways in which a Go program
// writes much at once, and compares what it reads afterwards. It returns how many comparisons failed.
func storm(mem []byte, rounds, seed int) int64 {
	var wg sync.WaitGroup
	var bad atomic.Int64
	half := len(mem) / 2
	for thread, part := range [][]byte{mem[:half], mem[half:]} {
		wg.Go(func() {
			for round := range rounds {
				bad.Add(stormRound(part, byte(seed+round*2+thread)|1))
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

func stormRound(mem []byte, fill byte) (bad int64) {
	zeros := make([]byte, len(mem))
	full := bytes.Repeat([]byte{fill}, len(mem))
	copy(mem, full)
	if !bytes.Equal(mem, full) {
		bad++
	}
	clear(mem)
	if !bytes.Equal(mem, zeros) {
		bad++
	}
	words := vm.Cast[uint64](mem)
	for i := range words {
		atomic.AddUint64(&words[i], uint64(fill))
	}
	for _, w := range words {
		if w != uint64(fill) {
			bad++
		}
	}
	copy(full, mem)
	if !bytes.Equal(full[8:], mem[8:]) || full[0] != fill {
		bad++
	}
	return bad
}

// catch copies from the memory and returns the offset at which this could not be done, or -1.
func catch(mem []byte) int64 {
	private := make([]byte, len(mem))
	addr, hit, err := vm.Catch(func() error {
		copy(private, mem)
		return nil
	})
	if err != nil || !hit {
		return -1
	}
	return int64(uint64(addr) - uint64(pagetable.WindowStart))
}

// writeToPipe returns the number of bytes that a system call took, or the negated error number.
func writeToPipe(mem []byte) int64 {
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		return -1000
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	n, err := unix.Write(fds[1], mem)
	if errno, ok := err.(unix.Errno); ok {
		return -int64(errno)
	}
	return int64(n)
}
