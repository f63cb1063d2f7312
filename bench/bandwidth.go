package bench

import (
	"context"
	"encoding/binary"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "bandwidth", Suite: "micro", MinRanks: 2, Size: 64,
		Purpose: "how fast a region that another node has written is read from end to end",
		Sharing: "rank 1 writes and rank 0 reads, in turn; the others watch",
		Run:     bandwidth,
	})
}

// bandwidth streams a region to rank 0, by ReadAt and by Prefetch, and as many bytes over a bare
// connection.
func bandwidth(ctx context.Context, r *Rank) error {
	size := r.size() << 20
	w := openWire(ctx, r)
	defer w.close()
	s := &stream{Rank: r, ctx: ctx, size: size, buf: make([]byte, size)}
	s.region = r.homedAt(ctx, "stream", size/r.pageSize(), 1)
	var raw, read, prefetch samples
	err := r.Timed(ctx, func() error {
		for round := range uint64(8) {
			s.write(round)
			if r.Rank == 0 {
				raw.time(func() { w.fetch(size) })
				if round%2 == 0 {
					read.time(s.read)
				} else {
					prefetch.time(s.prefetch)
					s.read()
				}
				s.compare(round)
			}
			check(r.Barrier(ctx))
		}
		return nil
	})
	if err != nil || r.Rank != 0 {
		return err
	}
	r.Metric("raw_bandwidth", raw.rate(size))
	r.Metric("stream_read", read.rate(size))
	r.Metric("stream_prefetch", prefetch.rate(size))
	r.Verify(s.wrong == 0, "%d of %d words were not what rank 1 had written", s.wrong, 8*size/8)
	return nil
}

// stream is a region that rank 1 fills and rank 0 reads.
type stream struct {
	*Rank
	ctx    context.Context
	region *dsm.Region
	size   int
	buf    []byte
	wrong  int
}

// word is what a round writes at an offset.
func (s *stream) word(round uint64, off int) uint64 { return round<<48 | uint64(off) }

func (s *stream) write(round uint64) {
	if s.Rank.Rank == 1 {
		for off := 0; off < s.size; off += 8 {
			binary.LittleEndian.PutUint64(s.buf[off:], s.word(round, off))
		}
		_, err := s.region.WriteAt(s.buf, 0)
		check(err)
	}
	check(s.Barrier(s.ctx))
}

func (s *stream) read() {
	_, err := s.region.ReadAt(s.buf, 0)
	check(err)
}

func (s *stream) prefetch() {
	check(s.region.Prefetch(s.ctx, 0, int64(s.size), pagetable.ReadAccess))
}

func (s *stream) compare(round uint64) {
	for off := 0; off < s.size; off += 8 {
		if binary.LittleEndian.Uint64(s.buf[off:]) != s.word(round, off) {
			s.wrong++
		}
	}
}
