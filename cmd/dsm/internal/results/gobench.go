package results

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"pagemesh/bench"
)

// WriteBench writes Go benchmark text, which benchstat reads: one line for each run, and one for each
// metric. A run whose result is wrong is reported as failed, so that its time is not compared.
func (r Report) WriteBench(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: pagemesh/bench\n", runtime.GOOS, runtime.GOARCH)
	access, consistency := "", ""
	for _, res := range r {
		if res.Access != access || res.Consistency != consistency {
			access, consistency = res.Access, res.Consistency
			fmt.Fprintf(&b, "access: %s\nconsistency: %s\n", access, consistency)
		}
		writeRun(&b, res)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRun(b *strings.Builder, res bench.Result) {
	name := benchName(res)
	if !res.Verified {
		fmt.Fprintf(b, "--- FAIL: %s\n    %s\n", name, res.Detail)
		return
	}
	fmt.Fprintf(b, "%s\t1\t%.0f ns/op", name, res.Seconds*1e9)
	if res.SequentialSeconds > 0 {
		fmt.Fprintf(b, "\t%.0f sequential-ns/op", res.SequentialSeconds*1e9)
	}
	fmt.Fprintf(b, "\t%d read-faults/op\t%d write-faults/op\t%d moved-B/op\t%d messages/op\n",
		res.ReadFaults, res.WriteFaults, res.BytesMoved, res.Messages)
	for _, m := range byMetric(res) {
		if m.MiBPerS > 0 {
			fmt.Fprintf(b, "%s/metric=%s\t1\t%.1f MiB/s\n", name, m.metric, m.MiBPerS)
		}
		if m.N > 0 {
			fmt.Fprintf(b, "%s/metric=%s\t%d\t%g ns/op\t%g p99-ns/op\n", name, m.metric, m.N, m.MedianNs, m.P99Ns)
		}
	}
}

// benchName returns the name of a run as a benchmark, such as "BenchmarkCg/class=W/nodes=4".
func benchName(res bench.Result) string {
	name := "Benchmark" + strings.ToUpper(res.Workload[:1]) + res.Workload[1:]
	if p := params(res, "/"); p != "" {
		// Spaces would end the name.
		name += "/" + strings.Join(strings.Fields(p), "_")
	}
	return fmt.Sprintf("%s/nodes=%d", name, res.Nodes)
}
