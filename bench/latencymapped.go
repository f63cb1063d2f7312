package bench

import (
	"context"
	"time"

	"pagemesh/dsm"
)

// mappedLatency is what rank 0 measures beside the rest if memory is mapped: the floor of a trap, a
// fault that needs no other node, and what an access costs once its page is here.
type mappedLatency struct {
	fresh  []uint64 // homed at rank 0, of which no page was ever touched
	stride int      // words of a page
	next   int      // first word of the next page to touch

	warm, plain []uint64 // a shared and a private page that are here

	trap, localFault, warmAccess, plainAccess samples
}

const warmWords = 512

func newMappedLatency(ctx context.Context, r *Rank, rounds int) *mappedLatency {
	fresh := r.homedAt(ctx, "fresh", 2*rounds*latencyPages, 0) // every other page, lest they are read ahead
	warm := r.homedAt(ctx, "warm", 1, 0)
	m := &mappedLatency{stride: fresh.PageSize() / 8, plain: make([]uint64, warmWords)}
	var err error
	m.fresh, err = dsm.Slice[uint64](fresh)
	check(err)
	m.warm, err = dsm.Slice[uint64](warm)
	check(err)
	m.warm = m.warm[:warmWords]
	return m
}

// measure takes one batch of each kind.
func (m *mappedLatency) measure(ctx context.Context, s *dsm.Space) {
	times, err := s.TrapRoundTrips(ctx, latencyBatch)
	check(err)
	m.trap = append(m.trap, times...)
	for range latencyBatch {
		m.localFault.time(func() { m.fresh[m.next] = 1 })
		m.next += 2 * m.stride
	}
	m.warmAccess.add(walk(m.warm))
	m.plainAccess.add(walk(m.plain))
}

// walk changes every word many times and returns the mean duration of one change.
func walk(words []uint64) time.Duration {
	const rounds = 1000
	start := time.Now()
	for range rounds {
		for i := range words {
			words[i]++
		}
	}
	return time.Since(start) * 1000 / rounds / time.Duration(len(words)) // in ps
}

func (m *mappedLatency) report(r *Rank) {
	r.Metric("uffd_round_trip", m.trap.metric())
	r.Metric("mapped_local_fault", m.localFault.metric())
	for name, s := range map[string]samples{"warm_shared": m.warmAccess, "warm_private": m.plainAccess} {
		metric := s.metric()
		metric.MedianNs, metric.P99Ns = metric.MedianNs/1000, metric.P99Ns/1000
		r.Metric(name, metric)
	}
}
