package results

import (
	"fmt"
	"time"

	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

var runColumns = []output.Column[row]{
	{Name: "workload", Title: "WORKLOAD", Text: true, Value: func(r row) any { return r.Workload }},
	{Name: "params", Title: "PARAMETERS", Text: true, Value: func(r row) any { return params(r.Result, " ") }},
	{Name: "nodes", Value: func(r row) any { return r.Nodes }},
	{Name: "access", Value: func(r row) any { return r.Access }},
	{Name: "consistency", Value: func(r row) any { return r.Consistency }},
	{Name: "verified", Title: "VERIFIED", Text: true, Value: func(r row) any { return r.Verified }, Show: showVerified,
		Alarm: func(r row) bool { return !r.Verified }},
	{Name: "seconds", Title: "TIME", Value: func(r row) any { return r.Seconds }, Show: func(r row) string { return showSeconds(r.Seconds) }},
	{Name: "sequential_seconds", Title: "SEQUENTIAL", Value: func(r row) any { return r.SequentialSeconds },
		Show: func(r row) string { return showSeconds(r.SequentialSeconds) }},
	count("read_faults", "READS", func(r row) uint64 { return r.ReadFaults }, output.Count),
	count("write_faults", "WRITES", func(r row) uint64 { return r.WriteFaults }, output.Count),
	count("bytes_moved", "MOVED", func(r row) uint64 { return r.BytesMoved }, output.Bytes),
	count("messages", "MESSAGES", func(r row) uint64 { return r.Messages }, output.Count),
	{Name: "detail", Value: func(r row) any { return r.Detail }},
}

// metricColumns begin with the workload's name, which the columns of runs hold too.
var metricColumns = []output.Column[row]{
	{Title: "WORKLOAD", Text: true, Value: func(r row) any { return r.Workload }},
	{Name: "metric", Title: "METRIC", Text: true, Value: func(r row) any { return r.metric }},
	{Name: "median_ns", Title: "MEDIAN", Value: func(r row) any { return r.MedianNs }, Show: func(r row) string { return showNanos(r.MedianNs) }},
	{Name: "p99_ns", Title: "P99", Value: func(r row) any { return r.P99Ns }, Show: func(r row) string { return showNanos(r.P99Ns) }},
	{Name: "n", Title: "SAMPLES", Value: func(r row) any { return r.N }, Show: showSamples},
	{Name: "mib_per_s", Title: "RATE", Value: func(r row) any { return r.MiBPerS }, Show: showRate},
	{Title: "RAW ECHOS", Value: func(r row) any { return showEchos(r) }},
}

var pageColumns = []output.Column[dsm.PageStats]{
	{Title: "PAGE", Text: true, Value: func(p dsm.PageStats) any { return fmt.Sprintf("%s[%d]", p.Region, p.Page) }},
	{Title: "HOME", Text: true, Value: func(p dsm.PageStats) any { return p.Home }},
	{Title: "READS", Value: func(p dsm.PageStats) any { return output.Count(p.ReadFaults) }},
	{Title: "WRITES", Value: func(p dsm.PageStats) any { return output.Count(p.WriteFaults + p.Upgrades) }},
	{Title: "MOVES", Value: func(p dsm.PageStats) any { return output.Count(p.Moves) }},
	{Title: "RECEIVED", Value: func(p dsm.PageStats) any { return output.Bytes(p.BytesIn) }},
	{Title: "STALL", Value: func(p dsm.PageStats) any { return output.Duration(p.Stall()) }},
}

// count returns the column of something that is counted.
func count(name, title string, of func(row) uint64, show func(uint64) string) output.Column[row] {
	return output.Column[row]{
		Name: name, Title: title,
		Value: func(r row) any { return of(r) },
		Show:  func(r row) string { return show(of(r)) },
	}
}

func showVerified(r row) string {
	switch {
	case r.verified != "":
		return r.verified
	case r.Verified:
		return "yes"
	}
	return "NO"
}

func showSeconds(s float64) string {
	if s == 0 {
		return "-"
	}
	return output.Duration(seconds(s))
}

func showNanos(ns float64) string {
	switch {
	case ns == 0:
		return "-"
	case ns < 100:
		return fmt.Sprintf("%.1f ns", ns)
	}
	return output.Duration(time.Duration(ns))
}

func showSamples(r row) string {
	if r.N == 0 {
		return "-"
	}
	return output.Count(uint64(r.N))
}

func showRate(r row) string {
	switch {
	case r.MiBPerS == 0:
		return "-"
	case r.MiBPerS < 10:
		return fmt.Sprintf("%.2g MiB/s", r.MiBPerS)
	}
	return fmt.Sprintf("%.0f MiB/s", r.MiBPerS)
}

// showEchos says how many raw echos a metric's median takes.
func showEchos(r row) string {
	if r.echo == 0 || r.MedianNs == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.MedianNs/r.echo)
}
