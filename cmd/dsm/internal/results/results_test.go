package results

import (
	"bytes"
	"encoding/csv"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pagemesh/bench"
	"pagemesh/dsm"
)

// sample is a micro workload, a kernel that is right and one that is wrong.
var sample = Report{
	{
		Workload: "limit", Params: map[string]any{}, Nodes: 2, Access: "embedded", Consistency: "sequential", Verified: true,
		Seconds: 0.5, Busiest: []dsm.PageStats{},
		Metrics: map[string]bench.Metric{
			"raw_echo":      {MedianNs: 8400, P99Ns: 20000, N: 1000},
			"raw_bandwidth": {MiBPerS: 4096},
			"local_hit":     {MedianNs: 31.4, P99Ns: 60, N: 5},
		},
		Reading: []string{"A hit is fast."},
	},
	{
		Workload: "cg", Params: map[string]any{"class": "W", "page size": 4096}, Nodes: 4, Access: "embedded", Consistency: "sequential",
		Verified: true, Detail: "zeta is 10.36", Seconds: 1.5, SequentialSeconds: 2, ReadFaults: 1200, WriteFaults: 34,
		BytesMoved: 5 << 20, Messages: 2500,
		Busiest: []dsm.PageStats{page("cg.1/p", 10), page("cg.1/q", 30), page("cg.1/r", 5)},
	},
	{
		Workload: "sor", Params: map[string]any{"size": 512}, Nodes: 4, Access: "mapped", Consistency: "sequential",
		Detail: "7 of 512 rows differ", Seconds: 0.25, Busiest: []dsm.PageStats{page("sor.2/grid", 20)},
	},
}

func page(region string, stall uint64) dsm.PageStats {
	return dsm.PageStats{Region: region, Home: 1, Counts: dsm.Counts{StallNanos: stall, ReadFaults: 3}, Note: "About " + region + "."}
}

func TestWrong(t *testing.T) {
	if got := slices.Concat(sample, sample).Wrong(); !slices.Equal(got, []string{"sor"}) {
		t.Errorf("%q", got)
	}
	if got := sample[:2].Wrong(); got != nil {
		t.Errorf("%q", got)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := sample.WriteTable(&b, false); err != nil {
		t.Fatal(err)
	}
	want := `2 nodes, embedded access, sequential consistency

WORKLOAD  PARAMETERS              VERIFIED    TIME  SEQUENTIAL  READS  WRITES     MOVED  MESSAGES
limit                             yes       500 ms           -      0       0       0 B         0
cg        class=W page size=4096  yes       1.50 s      2.00 s  1,200      34  5.00 MiB     2,500
sor       size=512                NO        250 ms           -      0       0       0 B         0
    7 of 512 rows differ
total                             2 of 3    2.25 s      2.00 s  1,200      34  5.00 MiB     2,500

WORKLOAD  METRIC          MEDIAN      P99  SAMPLES        RATE  RAW ECHOS
limit     local_hit      31.4 ns  60.0 ns        5           -       0.00
limit     raw_bandwidth        -        -        -  4096 MiB/s          -
limit     raw_echo       8.40 µs  20.0 µs    1,000           -       1.00
A hit is fast.

Busiest pages:
PAGE           HOME  READS  WRITES  MOVES  RECEIVED  STALL
cg.1/q[0]      n1        3       0      0       0 B  30 ns
    About cg.1/q.
sor.2/grid[0]  n1        3       0      0       0 B  20 ns
    About sor.2/grid.
cg.1/p[0]      n1        3       0      0       0 B  10 ns
    About cg.1/p.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTableOfOneHasNoTotal(t *testing.T) {
	var b bytes.Buffer
	if err := sample[1:2].WriteTable(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, unwanted := range []string{"total", "METRIC"} {
		if strings.Contains(b.String(), unwanted) {
			t.Errorf("%q in\n%s", unwanted, b.String())
		}
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := sample.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"workload", "params", "nodes", "access", "consistency", "verified", "seconds", "sequential_seconds", "read_faults",
			"write_faults", "bytes_moved", "messages", "detail", "metric", "median_ns", "p99_ns", "n", "mib_per_s"},
		{"limit", "", "2", "embedded", "sequential", "true", "0.5", "0", "0", "0", "0", "0", "", "local_hit", "31.4", "60", "5", "0"},
		{"limit", "", "2", "embedded", "sequential", "true", "0.5", "0", "0", "0", "0", "0", "", "raw_bandwidth", "0", "0", "0", "4096"},
		{"limit", "", "2", "embedded", "sequential", "true", "0.5", "0", "0", "0", "0", "0", "", "raw_echo", "8400", "20000", "1000", "0"},
		{"cg", "class=W page size=4096", "4", "embedded", "sequential", "true", "1.5", "2", "1200", "34", "5242880", "2500",
			"zeta is 10.36", "", "0", "0", "0", "0"},
		{"sor", "size=512", "4", "mapped", "sequential", "false", "0.25", "0", "0", "0", "0", "0", "7 of 512 rows differ", "", "0", "0", "0", "0"},
	}
	if !slices.EqualFunc(records, want, slices.Equal) {
		t.Errorf("got\n%q\nwant\n%q", records, want)
	}
}

func TestBench(t *testing.T) {
	var b bytes.Buffer
	if err := sample.WriteBench(&b); err != nil {
		t.Fatal(err)
	}
	want := "goos: " + runtime.GOOS + "\ngoarch: " + runtime.GOARCH + `
pkg: pagemesh/bench
access: embedded
consistency: sequential
BenchmarkLimit/nodes=2 1 500000000 ns/op 0 read-faults/op 0 write-faults/op 0 moved-B/op 0 messages/op
BenchmarkLimit/nodes=2/metric=local_hit 5 31.4 ns/op 60 p99-ns/op
BenchmarkLimit/nodes=2/metric=raw_bandwidth 1 4096.0 MiB/s
BenchmarkLimit/nodes=2/metric=raw_echo 1000 8400 ns/op 20000 p99-ns/op
BenchmarkCg/class=W/page_size=4096/nodes=4 1 1500000000 ns/op 2000000000 sequential-ns/op 1200 read-faults/op 34 write-faults/op 5242880 moved-B/op 2500 messages/op
access: mapped
consistency: sequential
--- FAIL: BenchmarkSor/size=512/nodes=4
    7 of 512 rows differ
`
	if got := strings.ReplaceAll(b.String(), "\t", " "); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
