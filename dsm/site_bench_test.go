package dsm_test

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pagemesh/dsm"
)

const samplingPages = 1000

func init() {
	// faulter does nothing but fault, in batches, and says how long each took.
	programs["faulter"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "r", dsm.RegionOptions{Size: 2 * samplingPages * pageSize})
		if err != nil {
			return err
		}
		b, err := r.Bytes()
		if err != nil {
			return err
		}
		for {
			if err := p.Barrier("begin", 2).Wait(ctx); err != nil {
				return err
			}
			if err := dsm.Forget(r); err != nil {
				return err
			}
			start := time.Now()
			for page := 0; page < 2*samplingPages; page += 2 { // every other page, lest they are read ahead
				b[page*pageSize]++
			}
			fmt.Println(time.Since(start).Nanoseconds())
		}
	}
}

// BenchmarkSampling compares faults with and without a look at where the thread stands, in batches that take
// turns: how much does it cost a program that does nothing but fault, on pages that are at its node already?
func BenchmarkSampling(b *testing.B) {
	spaces, sockets := serving(b, 1)
	cmd := newPrograms(b, "faulter", sockets, 0)[0]
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	batch := func() float64 {
		if err := spaces[0].Barrier("begin", 2).Wait(b.Context()); err != nil || !lines.Scan() {
			b.Fatal(err, lines.Err(), cmd.Stderr)
		}
		ns, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			b.Fatal(err)
		}
		return ns / samplingPages
	}
	batch() // the first one makes the pages
	samplers, ok := dsm.Samplers(spaces[0])
	await(b, "the program's symbols", func() bool {
		samplers, ok = dsm.Samplers(spaces[0])
		return ok
	})
	var with, without, more []float64
	for i := 0; b.Loop(); i++ {
		var ns [2]float64
		for turn := range 2 {
			on := (i + turn) % 2
			samplers.Enable(on == 1)
			ns[on] = batch()
		}
		without, with, more = append(without, ns[0]), append(with, ns[1]), append(more, 100*(ns[1]/ns[0]-1))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(with), "ns/fault")
	b.ReportMetric(median(without), "ns/unsampled-fault")
	b.ReportMetric(median(more), "%more")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
