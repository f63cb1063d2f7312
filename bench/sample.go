package bench

import (
	"slices"
	"time"
)

// samples are the durations of equal operations.
type samples []time.Duration

// time runs op and adds how long it took.
func (s *samples) time(op func()) {
	start := time.Now()
	op()
	*s = append(*s, time.Since(start))
}

// add adds a duration that was measured elsewhere.
func (s *samples) add(d time.Duration) { *s = append(*s, d) }

// timeEach runs op n times and adds the mean duration: for what is too short for the clock.
func (s *samples) timeEach(n int, op func()) {
	start := time.Now()
	for range n {
		op()
	}
	*s = append(*s, time.Since(start)/time.Duration(n))
}

// metric returns median and 99th percentile.
func (s samples) metric() Metric {
	if len(s) == 0 {
		return Metric{}
	}
	slices.Sort(s)
	return Metric{MedianNs: float64(s[len(s)/2]), P99Ns: float64(s[len(s)*99/100]), N: len(s)}
}

// times returns how the median of s compares with that of a reference.
func (s samples) times(reference samples) float64 {
	return s.metric().MedianNs / max(reference.metric().MedianNs, 1)
}

// rate returns the median rate of samples in each of which that many bytes moved.
func (s samples) rate(bytes int) Metric {
	m := s.metric()
	return Metric{N: m.N, MiBPerS: float64(bytes) / (1 << 20) / (m.MedianNs / 1e9)}
}
