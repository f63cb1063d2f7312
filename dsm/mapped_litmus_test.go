package dsm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pagemesh/dsm"
)

// A litmus shape is what each of a few threads does to a few words, 0 at first. Each thread runs on a node
// of its own, as an attached program, by plain instructions as well as by others: between nodes memory is
// sequentially consistent, so that what comes out must be what some interleaving gives. (Alloy, Maranget,
// Sarkar, Sewell: Fences in weak memory models, CAV 2010, has the names.)

// litmusOp stores a value to a word, or loads the word if the value is 0.
type litmusOp struct{ word, store int }

func load(word int) litmusOp         { return litmusOp{word, 0} }
func store(word, value int) litmusOp { return litmusOp{word, value} }

type litmusShape struct {
	name    string
	threads [][]litmusOp
}

const x, y = 0, 1

var litmusShapes = []litmusShape{
	{"store buffering", [][]litmusOp{{store(x, 1), load(y)}, {store(y, 1), load(x)}}},
	{"message passing", [][]litmusOp{{store(x, 1), store(y, 1)}, {load(y), load(x)}}},
	{"load buffering", [][]litmusOp{{load(x), store(y, 1)}, {load(y), store(x, 1)}}},
	{"independent reads", [][]litmusOp{{store(x, 1)}, {store(y, 1)}, {load(x), load(y)}, {load(y), load(x)}}},
	{"write to read", [][]litmusOp{{store(x, 1)}, {load(x), store(y, 1)}, {load(y), load(x)}}},
	{"coherent reads", [][]litmusOp{{store(x, 1)}, {load(x), load(x)}, {load(x), load(x)}}},
	{"coherent writes", [][]litmusOp{{store(x, 1), store(x, 2)}, {load(x), load(x)}, {load(x), load(x)}}},
	{"two writers", [][]litmusOp{{store(x, 1), load(x)}, {store(x, 2), load(x)}, {load(x), load(x)}}},
	{"crossed writes", [][]litmusOp{{store(x, 1), store(y, 2)}, {store(y, 1), store(x, 2)}}},
}

// most returns the greatest value that is stored.
func (s litmusShape) most() (v int) {
	for _, ops := range s.threads {
		for _, op := range ops {
			v = max(v, op.store)
		}
	}
	return v
}

// litmusTimes is how often each shape is run in each setting.
func litmusTimes() int {
	if long() > 1 {
		return 4000
	}
	return 60
}

// litmusWords is how many words a shape has room for.
const litmusWords = 2

// outcomes returns what every interleaving leaves: what each thread has loaded, in order, and the words.
func (s litmusShape) outcomes() map[string]bool {
	all := map[string]bool{}
	next := make([]int, len(s.threads))
	loaded := make([][]byte, len(s.threads))
	var words [litmusWords]byte
	var visit func()
	visit = func() {
		ended := true
		for t, ops := range s.threads {
			if next[t] == len(ops) {
				continue
			}
			ended = false
			op, before, had := ops[next[t]], words, loaded[t]
			if op.store > 0 {
				words[op.word] = byte(op.store)
			} else {
				loaded[t] = append(slices.Clone(had), words[op.word])
			}
			next[t]++
			visit()
			next[t]--
			words, loaded[t] = before, had
		}
		if ended {
			all[fmt.Sprint(loaded, words)] = true
		}
	}
	visit()
	return all
}

// litmusRun is one shape, run many times.
type litmusRun struct {
	Name     string
	Shape    int
	Together bool   // all words of one time lie on one page, else each has pages of its own
	Times    int    // how often
	Seed     uint64 // for the means by which each access is made
}

// One time after the other has words on another one of this many pages, so that hardly any page is at hand.
const litmusPages = 8

const pageSize = 4096

// word returns word w of a time.
func (r litmusRun) word(b []byte, w, time int) []byte {
	row, column := w, 0
	slot := 1
	if r.Together {
		row, column, slot = 0, w, litmusWords
	}
	perPage := pageSize / 8 / slot
	page := time/litmusPages/perPage*litmusPages + time%litmusPages
	off := row*len(b)/litmusWords + page*pageSize + 8*(time/litmusPages%perPage*slot+column)
	return b[off : off+8 : off+8]
}

func (r litmusRun) size() int {
	perRow := litmusPages * pageSize / 8 / litmusWords
	return litmusWords * litmusPages * pageSize * ((r.Times + perRow - 1) / perRow)
}

// inverted reports whether 0 and 1 have changed places, so that clear stores a 1.
func (r litmusRun) inverted(time int) bool {
	return litmusShapes[r.Shape].most() == 1 && rand.New(rand.NewPCG(r.Seed, uint64(time))).IntN(2) == 0
}

const inverse = ^uint64(0)

// encode returns what stands for a value in a word.
func encode(v int, inverted bool) uint64 {
	if !inverted {
		return uint64(v)
	}
	return uint64(v) - 1 // 1 is 0, 0 is the inverse
}

func decode(w uint64, inverted bool) byte {
	if inverted {
		w++
	}
	return byte(w)
}

// The means by which a word is reached: each is one access to it.

//go:noinline
func storeWord(means int, b []byte, v uint64) {
	p := &words(b)[0]
	switch {
	case means == 0:
		*p = v
	case means == 1:
		atomic.StoreUint64(p, v)
	case means == 2 && v == 0:
		clear(b)
	default:
		copy(b, binary.NativeEndian.AppendUint64(nil, v))
	}
}

//go:noinline
func loadWord(means int, b []byte, inverted bool) byte {
	if means != 2 {
		return decode(loadBits(means, b), inverted)
	}
	one := binary.NativeEndian.AppendUint64(nil, encode(1, inverted)) // the words are 0 or 1
	if bytes.Equal(b, one) {
		return 1
	}
	return 0
}

//go:noinline
func loadBits(means int, b []byte) uint64 {
	p := &words(b)[0]
	switch means {
	case 0:
		return *p
	case 1:
		return atomic.LoadUint64(p)
	}
	buf := make([]byte, 8)
	copy(buf, b)
	return binary.NativeEndian.Uint64(buf)
}

// pace has the threads of a run begin each batch of times together. Each has a page for how far it is.
type pace struct {
	progress []uint64
	self, n  int
}

const (
	litmusBatch = 20
	paceStride  = pageSize / 8
)

func (p *pace) step(now int) {
	if now%litmusBatch > 0 {
		return
	}
	atomic.StoreUint64(&p.progress[p.self*paceStride], uint64(now))
	for other := range p.n {
		for atomic.LoadUint64(&p.progress[other*paceStride]) < uint64(now) {
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// dawdle sleeps now and then, so that one thread meets another now before and now after an access.
func dawdle(rng *rand.Rand) {
	if rng.IntN(2) == 0 {
		time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
	}
}

// perform runs thread t's part of every time and returns what it has loaded.
func (r litmusRun) perform(t int, b []byte, p *pace) []byte {
	var loaded []byte
	shape := litmusShapes[r.Shape]
	rng := rand.New(rand.NewPCG(r.Seed, uint64(1+t)<<32))
	for time := range r.Times {
		p.step(time)
		inverted := r.inverted(time)
		for _, op := range shape.threads[t] {
			dawdle(rng)
			means := rng.IntN(4)
			w := r.word(b, op.word, time)
			switch {
			case op.store > 0:
				storeWord(means, w, encode(op.store, inverted))
			case means == 2 && shape.most() > 1:
				loaded = append(loaded, loadWord(3, w, inverted))
			default:
				loaded = append(loaded, loadWord(means, w, inverted))
			}
		}
	}
	return loaded
}

// prepare writes the inverse where it stands for 0.
func (r litmusRun) prepare(b []byte) {
	for time := range r.Times {
		for w := range litmusWords {
			if r.inverted(time) {
				words(r.word(b, w, time))[0] = inverse
			}
		}
	}
}

// final returns the words as they are at last.
func (r litmusRun) final(b []byte) []byte {
	var all []byte
	for time := range r.Times {
		for w := range litmusWords {
			all = append(all, decode(words(r.word(b, w, time))[0], r.inverted(time)))
		}
	}
	return all
}

// litmusReport is what a program has seen of a run.
type litmusReport struct{ Loaded, Final []byte }

const litmusEnv = "TEST_LITMUS"

func init() {
	programs["litmus"] = func(ctx context.Context, p *testProgram) error {
		var runs []litmusRun
		if err := json.Unmarshal([]byte(os.Getenv(litmusEnv)), &runs); err != nil {
			return err
		}
		defer collectGarbage()()
		for _, r := range runs {
			report, err := p.litmus(ctx, r)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
				return err
			}
		}
		return nil
	}
}

// collectGarbage collects it all the time, until the function that it returns is called.
func collectGarbage() (stop func()) {
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stopped.Load() {
			runtime.GC()
			time.Sleep(100 * time.Microsecond) // the processors are few
		}
	}()
	return func() {
		stopped.Store(true)
		<-ended
	}
}

func (p *testProgram) litmus(ctx context.Context, r litmusRun) (report litmusReport, err error) {
	b, err := p.bytes(ctx, r.Name, r.size())
	if err != nil {
		return report, err
	}
	progress, err := p.bytes(ctx, r.Name+" progress", p.ranks*8*paceStride)
	if err != nil {
		return report, err
	}
	if p.rank == 0 {
		r.prepare(b)
	}
	if err := p.barrier(ctx, "prepared"); err != nil {
		return report, err
	}
	if threads := len(litmusShapes[r.Shape].threads); p.rank < threads {
		report.Loaded = r.perform(p.rank, b, &pace{words(progress), p.rank, threads})
	}
	if err := p.barrier(ctx, "performed"); err != nil {
		return report, err
	}
	report.Final = r.final(b)
	return report, nil
}

// bytes maps a region.
func (p *testProgram) bytes(ctx context.Context, name string, size int) ([]byte, error) {
	r, err := p.Region(ctx, name, dsm.RegionOptions{Size: uint64(size)})
	if err != nil {
		return nil, err
	}
	return r.Bytes()
}

// check counts the outcomes of a run and fails if there is one that no interleaving gives.
func (r litmusRun) check(t *testing.T, reports []litmusReport) {
	t.Helper()
	shape := litmusShapes[r.Shape]
	allowed, seen := shape.outcomes(), map[string]int{}
	for time := range r.Times {
		loaded := make([][]byte, len(shape.threads))
		for thread, ops := range shape.threads {
			loads := 0
			for _, op := range ops {
				if op.store == 0 {
					loads++
				}
			}
			if loads > 0 {
				loaded[thread] = reports[thread].Loaded[time*loads : (time+1)*loads]
			}
		}
		final := reports[0].Final[time*litmusWords : (time+1)*litmusWords]
		for i, report := range reports {
			if f := report.Final[time*litmusWords : (time+1)*litmusWords]; !bytes.Equal(f, final) {
				t.Errorf("%s, time %d: at last program %d reads %v, program 0 %v", r.Name, time, i, f, final)
			}
		}
		outcome := fmt.Sprint(loaded, [litmusWords]byte(final))
		if seen[outcome]++; !allowed[outcome] && seen[outcome] == 1 {
			t.Errorf("%s, time %d: loaded and left %s, which no interleaving gives", r.Name, time, outcome)
		}
	}
	for _, outcome := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%s: %6d times %s", r.Name, seen[outcome], outcome)
	}
}

// TestMappedLitmus runs every shape on 4 nodes, with its words on one page and on several, in programs
// with 1, 2 and 4 processors each that collect garbage all the time.
func TestMappedLitmus(t *testing.T) {
	seed := seedOf(t)
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(procs, " processors"), func(t *testing.T) {
			spaces, sockets := serving(t, 4)
			var runs []litmusRun
			for i, shape := range litmusShapes {
				for together, where := range map[bool]string{true: "one page", false: "several pages"} {
					runs = append(runs, litmusRun{
						Name: shape.name + ", " + where, Shape: i, Together: together, Times: litmusTimes(), Seed: seed,
					})
				}
			}
			checkLitmus(t, sockets, runs, procs)
			var faults uint64
			for _, s := range spaces {
				st := s.Stats()
				faults += st.ReadFaults + st.WriteFaults + st.Upgrades
			}
			t.Logf("%d faults", faults)
		})
	}
}

func checkLitmus(t *testing.T, sockets []string, runs []litmusRun, procs int) {
	t.Helper()
	asked, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	outputs := runPrograms(t, "litmus", sockets, 0, litmusEnv+"="+string(asked), "GOMAXPROCS="+strconv.Itoa(procs))
	if t.Failed() {
		return
	}
	var decoders []*json.Decoder
	for _, out := range outputs {
		decoders = append(decoders, json.NewDecoder(bytes.NewReader([]byte(out))))
	}
	for _, r := range runs {
		reports := make([]litmusReport, len(decoders))
		for i, d := range decoders {
			if err := d.Decode(&reports[i]); err != nil {
				t.Fatalf("%s: program %d: %v", r.Name, i, err)
			}
		}
		r.check(t, reports)
	}
}

// words returns the words of some bytes.
func words(b []byte) []uint64 { return dsm.Words(b) }
