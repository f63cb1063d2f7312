package dsm_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

const (
	read  = pagetable.ReadAccess
	write = pagetable.WriteAccess
)

// onePage opens a region of one page, homed at the first node.
func onePage(t *testing.T, nodes []*dsm.Space) []*dsm.Region {
	t.Helper()
	return openRegions(t, nodes, "page", dsm.RegionOptions{Size: 4096, Placement: homed(nodes[0])})
}

func takeView(t *testing.T, r *dsm.Region, off, n int64, a pagetable.Access) *dsm.View {
	t.Helper()
	v, err := r.View(patient(t), off, n, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestViewIsTheMemoryItself(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 16, PageSize: 1024})
	v := takeView(t, regions[0], 1000, 3000, write) // parts of five pages
	if len(v.Bytes()) != 3000 || cap(v.Bytes()) != 3000 {
		t.Errorf("a view of %d bytes, capacity %d", len(v.Bytes()), cap(v.Bytes()))
	}
	for i := range v.Bytes() {
		v.Bytes()[i] = byte(i % 251)
	}
	v.Release()
	v.Release()
	w := takeView(t, regions[1], 1000, 3000, read)
	defer w.Release()
	for i, b := range w.Bytes() {
		if b != byte(i%251) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestTypedViews(t *testing.T) {
	type point struct {
		Tag  uint8
		X, Y float64
		Ok   bool
	}
	nodes := openNodes(t, 2, dsm.Config{})
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 1 << 16})
	ctx := patient(t)
	v, err := dsm.ViewOf[point](ctx, regions[0], 100, 300, write) // elements lie across pages
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.Slice() {
		v.Slice()[i] = point{uint8(i), float64(i), -float64(i), i%2 == 0}
	}
	v.Release()
	if v.Slice() != nil {
		t.Error("a released view still hands out elements")
	}
	w, err := dsm.ViewOf[point](ctx, regions[1], 100, 300, read)
	if err != nil || len(w.Slice()) != 300 {
		t.Fatal(len(w.Slice()), err)
	}
	defer w.Release()
	for i, p := range w.Slice() {
		if want := (point{uint8(i), float64(i), -float64(i), i%2 == 0}); p != want {
			t.Fatalf("element %d is %v, want %v", i, p, want)
		}
	}
}

type tree struct {
	Left, Right *tree
	Key         int
}

func TestTypesWithPointersAreRefused(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096})[0]
	refused := func(err error, path string) {
		t.Helper()
		wantError(t, path, err, dsm.ErrPointers)
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name %q: %v", path, err)
		}
	}
	refused(viewOf[string](r), "string")
	refused(viewOf[[]byte](r), "[]uint8")
	refused(viewOf[*int](r), "*int")
	refused(viewOf[map[int]int](r), "map[int]int")
	refused(viewOf[any](r), "interface")
	refused(viewOf[error](r), "error")
	refused(viewOf[chan int](r), "chan int")
	refused(viewOf[func()](r), "func()")
	refused(viewOf[unsafe.Pointer](r), "Pointer")
	refused(viewOf[[3][2]string](r), "[][]: string")
	refused(viewOf[tree](r), "tree.Left: ptr")
	refused(viewOf[struct {
		ID    int
		Inner struct{ Names [4]struct{ First string } }
	}](r), ".Inner.Names[].First: string")
	refused(viewOf[time.Time](r), "Time.loc: ptr")
	refused(viewOf[sync.Map](r), "Map")

	for name, err := range map[string]error{
		"uintptr": viewOf[uintptr](r), "complex": viewOf[complex128](r), "bool": viewOf[bool](r),
		"arrays": viewOf[[2][3]int16](r), "named": viewOf[time.Duration](r), "no element": viewOf[struct {
			None [0]*int
			Some int
		}](r),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantError(t, "a type without a size", viewOf[struct{}](r), dsm.ErrRange)
}

func viewOf[T any](r *dsm.Region) error {
	v, err := dsm.ViewOf[T](context.Background(), r, 1, 2, read)
	v.Release() // also fine for the zero view of an error
	return err
}

func TestViewNeedsAnAccess(t *testing.T) {
	nodes := openNodes(t, 1, dsm.Config{})
	r := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4096})[0]
	for _, a := range []pagetable.Access{pagetable.NoAccess, 3, 255} {
		if _, err := r.View(patient(t), 0, 8, a); err == nil || !strings.Contains(err.Error(), "want read or write") {
			t.Errorf("view with %v: %v", a, err)
		}
		if err := r.Prefetch(patient(t), 0, 8, a); err == nil || !strings.Contains(err.Error(), "want read or write") {
			t.Errorf("prefetch with %v: %v", a, err)
		}
	}
}

func TestEmptyViewHoldsNothing(t *testing.T) {
	nodes := openNodes(t, 2, dsm.Config{})
	regions := onePage(t, nodes)
	for _, off := range []int64{0, 17, 4096} {
		v := takeView(t, regions[1], off, 0, write)
		if len(v.Bytes()) != 0 {
			t.Errorf("it has %d bytes", len(v.Bytes()))
		}
		if err := regions[0].Store(patient(t), 0, 1); err != nil {
			t.Error(err)
		}
		v.Release()
	}
}

// finished starts fn and returns a function that reports whether it has ended once nothing moves any
// more.
func finished(fn func()) func() bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	return func() bool {
		synctest.Wait()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

func TestViewsKeepOthersOut(t *testing.T) {
	tests := []struct {
		holds, wants pagetable.Access
		waits        bool
	}{
		{read, read, false}, {read, write, true}, {write, read, true}, {write, write, true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.holds, " then ", test.wants), func(t *testing.T) {
			inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
				regions := onePage(t, nodes)
				held := takeView(t, regions[1], 0, 8, test.holds)
				got := finished(func() { takeView(t, regions[2], 4088, 8, test.wants).Release() })
				if got() == test.waits {
					t.Errorf("while the view is held: other view taken is %v", !test.waits)
				}
				held.Release()
				if !got() {
					t.Error("the other view does not come after Release")
				}
			})
		})
	}
}

// TestReadViewSurvivesDowngrade: who reads a page that it owns need not stop because another reads it.
func TestReadViewSurvivesDowngrade(t *testing.T) {
	inMemory(t, 3, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		if err := regions[1].Store(patient(t), 0, 7); err != nil {
			t.Fatal(err)
		}
		v := takeView(t, regions[1], 0, 8, read)
		defer v.Release()
		if v, err := regions[2].Load(patient(t), 0); v != 7 || err != nil {
			t.Error(v, err)
		}
	})
}

func TestSecondViewDoesNotWaitForTheFirst(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		first := takeView(t, regions[1], 0, 8, write)
		other := finished(func() { takeView(t, regions[0], 0, 8, write).Release() })
		if other() {
			t.Fatal("two nodes hold the page for writing")
		}
		second := takeView(t, regions[1], 8, 8, write)
		third := takeView(t, regions[1], 16, 8, read)
		first.Release()
		second.Release()
		if other() {
			t.Error("the page is gone while a third view holds it")
		}
		third.Release()
		if !other() {
			t.Error("the page does not come after the last Release")
		}
	})
}

// TestTwoUpgradesEndWithTheirContexts: two nodes that each hold a page for reading and want it for
// writing wait for each other. That is a mistake of theirs, but not for good.
func TestTwoUpgradesEndWithTheirContexts(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		var ended [2]func() bool
		for i, r := range regions {
			ended[i] = finished(func() {
				v := takeView(t, r, 0, 8, read)
				time.Sleep(time.Millisecond) // until the other has its view as well
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if w, err := r.View(ctx, 0, 8, write); err == nil {
					w.Release()
				}
				v.Release()
			})
		}
		time.Sleep(2 * time.Minute)
		if !ended[0]() || !ended[1]() {
			t.Fatal("a view waits beyond its context")
		}
		for _, r := range regions {
			if _, err := r.Add(patient(t), 0, 1); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestFailedViewLeavesNoPin: of a view of several pages one does not come in time.
func TestFailedViewLeavesNoPin(t *testing.T) {
	inMemory(t, 2, dsm.Config{}, func(t *testing.T, nodes []*dsm.Space) {
		regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: 4 * 4096, Placement: homed(nodes[0])})
		last := takeView(t, regions[0], 3*4096, 8, write)
		defer last.Release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := regions[1].View(ctx, 0, 4*4096, write)
		wantError(t, "View", err, context.DeadlineExceeded)
		if _, err := regions[0].WriteAt(make([]byte, 3*4096), 0); err != nil {
			t.Errorf("the pages that came are still held: %v", err)
		}
	})
}

// TestWideViewsDoNotDeadlock: nodes take overlapping views of many pages at once, again and again.
func TestWideViewsDoNotDeadlock(t *testing.T) {
	nodes := openNodes(t, 3, dsm.Config{})
	const words, rounds = 12 * 512 / 8, 60
	regions := openRegions(t, nodes, "r", dsm.RegionOptions{Size: words * 8, PageSize: 512})
	ctx := patient(t)
	spans := [][2]int64{{0, words}, {words / 2, words / 2}, {words / 4, words / 2}, {0, words / 2}}
	each(nodes, func(i int, _ *dsm.Space) {
		for k := range rounds {
			sp := spans[(i+k)%len(spans)]
			v, err := dsm.ViewOf[uint64](ctx, regions[i], sp[0], sp[1], write)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range v.Slice() {
				v.Slice()[j]++
			}
			v.Release()
		}
	})
	v, err := dsm.ViewOf[uint64](ctx, regions[0], 0, words, read)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	for j, got := range v.Slice() {
		want := uint64(0)
		for i := range nodes {
			for k := range rounds {
				if sp := spans[(i+k)%len(spans)]; int64(j) >= sp[0] && int64(j) < sp[0]+sp[1] {
					want++
				}
			}
		}
		if got != want {
			t.Fatalf("word %d was counted to %d, want %d", j, got, want)
		}
	}
}

// logged collects a node's log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) lines(about string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, about) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestWarningNamesTheHolder(t *testing.T) {
	var log logged
	cfg := dsm.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), ViewWarning: 2 * time.Second}
	inMemory(t, 2, cfg, func(t *testing.T, nodes []*dsm.Space) {
		regions := onePage(t, nodes)
		_, file, line, _ := runtime.Caller(0)
		plain, err1 := regions[1].View(patient(t), 0, 8, read)
		typed, err2 := dsm.ViewOf[int32](patient(t), regions[1], 2, 1, write)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		time.Sleep(10 * time.Second)
		if w := log.lines("WARN"); len(w) > 0 {
			t.Errorf("warned of a view that delays nobody: %v", w)
		}
		other := finished(func() { takeView(t, regions[0], 0, 8, read).Release() })
		other()
		time.Sleep(1900 * time.Millisecond)
		if w := log.lines("WARN"); len(w) > 0 {
			t.Errorf("warned too early: %v", w)
		}
		time.Sleep(time.Second)
		warnings := log.lines("WARN")
		if len(warnings) != 1 {
			t.Fatalf("warnings: %v", warnings)
		}
		for _, want := range []string{
			fmt.Sprintf("read view taken at %s:%d ", file, line+1), fmt.Sprintf("write view taken at %s:%d ", file, line+2),
			"TestWarningNamesTheHolder", "region=page page=0",
		} {
			if !strings.Contains(warnings[0], want) {
				t.Errorf("the warning does not say %q: %s", want, warnings[0])
			}
		}
		time.Sleep(10 * time.Second)
		typed.Release()
		if !other() {
			t.Error("the other view does not come after Release")
		}
		plain.Release()
		if w := log.lines("WARN"); len(w) != 1 {
			t.Errorf("it went on to warn: %v", w)
		}
	})
}

// BenchmarkView takes and releases a view of a page that is here.
func BenchmarkView(b *testing.B) {
	r := openRegions(b, openNodes(b, 1, dsm.Config{}), "r", dsm.RegionOptions{Size: 1 << 20})[0]
	ctx := b.Context()
	for b.Loop() {
		v, err := dsm.ViewOf[uint64](ctx, r, 0, 512, pagetable.WriteAccess)
		if err != nil {
			b.Fatal(err)
		}
		v.Slice()[0]++
		v.Release()
	}
}
