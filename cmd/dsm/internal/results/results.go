// Package results prints what benchmark runs have found.
package results

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"pagemesh/bench"
	"pagemesh/cmd/dsm/internal/output"
	"pagemesh/dsm"
)

// Report is the results of one command, in the order of the runs.
type Report []bench.Result

// Wrong returns the workloads whose results are not verified, each once.
func (r Report) Wrong() []string {
	var names []string
	for _, res := range r {
		if !res.Verified && !slices.Contains(names, res.Workload) {
			names = append(names, res.Workload)
		}
	}
	return names
}

// WriteTable writes what the runs have in common, the runs and their total, then what they have measured,
// then the reports of the runs or, without any, the busiest pages.
func (r Report) WriteTable(w io.Writer, colour bool) error {
	if len(r) > 0 {
		fmt.Fprintf(w, "%s, %s access, %s consistency\n\n", output.Number(uint64(r[0].Nodes), "node"), r[0].Access, r[0].Consistency)
	}
	rows := make([]row, 0, len(r)+1)
	for _, res := range r {
		rows = append(rows, row{Result: res})
	}
	if len(r) > 1 {
		rows = append(rows, r.total())
	}
	if err := (output.List[row]{Columns: runColumns, Rows: rows, Notes: whyWrong}).WriteTable(w, colour); err != nil {
		return err
	}
	if m := r.measured(); len(m) > 0 {
		fmt.Fprintln(w)
		if err := (output.List[row]{Columns: metricColumns, Rows: m}).WriteTable(w, colour); err != nil {
			return err
		}
	}
	for _, res := range r {
		for _, sentence := range res.Reading {
			fmt.Fprintln(w, sentence)
		}
	}
	for _, res := range r {
		for _, race := range res.Races {
			fmt.Fprintf(w, "%s has a data race: %v\n", res.Workload, race)
		}
	}
	reported, err := r.writeReports(w)
	pages := r.busiest()
	if err != nil || reported || len(pages) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nBusiest pages:")
	note := func(p dsm.PageStats) []string { return []string{p.Note} }
	return output.List[dsm.PageStats]{Columns: pageColumns, Rows: pages, Notes: note}.WriteTable(w, colour)
}

// writeReports writes what page traffic has cost each run, of those that say so.
func (r Report) writeReports(w io.Writer) (reported bool, err error) {
	for _, res := range r {
		if res.Report == nil {
			continue
		}
		reported = true
		if _, err := fmt.Fprintf(w, "\n%s: ", strings.TrimSpace(res.Workload+" "+params(res, " "))); err != nil {
			return true, err
		}
		if _, err := res.Report.WriteTo(w); err != nil {
			return true, err
		}
	}
	return reported, nil
}

// WriteCSV writes one line for each run and metric: a run with several has several lines, one with
// none has one.
func (r Report) WriteCSV(w io.Writer) error {
	var rows []row
	for _, res := range r {
		rows = append(rows, byMetric(res)...)
	}
	columns := slices.Concat(runColumns, metricColumns[1:])
	return output.List[row]{Columns: columns, Rows: rows}.WriteCSV(w, true)
}

// row is a run, or one metric of it, or the total of several runs.
type row struct {
	bench.Result
	metric string // "" if the row is not about one
	bench.Metric
	echo     float64 // median of the raw echo in the same command in nanoseconds, 0 if it was not measured
	verified string  // of a total
}

func (r Report) total() row {
	t := row{verified: fmt.Sprintf("%d of %d", len(r), len(r))}
	t.Workload, t.Verified = "total", true
	right := 0
	for _, res := range r {
		t.Seconds += res.Seconds
		t.SequentialSeconds += res.SequentialSeconds
		t.ReadFaults += res.ReadFaults
		t.WriteFaults += res.WriteFaults
		t.BytesMoved += res.BytesMoved
		t.Messages += res.Messages
		if res.Verified {
			right++
		}
	}
	t.verified = fmt.Sprintf("%d of %d", right, len(r))
	t.Verified = right == len(r)
	return t
}

// whyWrong returns what was compared if a run's result is wrong.
func whyWrong(r row) []string {
	if r.Verified || r.Detail == "" {
		return nil
	}
	return []string{r.Detail}
}

// byMetric returns a row for each metric of a run, or one for the run if there is none.
func byMetric(res bench.Result) []row {
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(res.Metrics)) {
		rows = append(rows, row{Result: res, metric: name, Metric: res.Metrics[name]})
	}
	if len(rows) == 0 {
		rows = append(rows, row{Result: res})
	}
	return rows
}

// rawEcho is the metric that the others are compared with: what the network alone needs.
const rawEcho = "raw_echo"

// measured returns a row for each metric of all runs.
func (r Report) measured() []row {
	var rows []row
	echo := 0.0
	for _, res := range r {
		echo = cmp.Or(res.Metrics[rawEcho].MedianNs, echo)
		if len(res.Metrics) > 0 {
			rows = append(rows, byMetric(res)...)
		}
	}
	for i := range rows {
		rows[i].echo = echo
	}
	return rows
}

// Of the busiest pages a report names so many, and so many of one run.
const (
	maxPages       = 10
	maxPagesPerRun = 2
)

func (r Report) busiest() []dsm.PageStats {
	var pages []dsm.PageStats
	for _, res := range r {
		pages = append(pages, res.Busiest[:min(maxPagesPerRun, len(res.Busiest))]...)
	}
	slices.SortStableFunc(pages, func(a, b dsm.PageStats) int { return cmp.Compare(b.StallNanos, a.StallNanos) })
	return pages[:min(maxPages, len(pages))]
}

// params returns a run's parameters, "class=W page_size=4096".
func params(res bench.Result, separator string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(res.Params)) {
		list = append(list, fmt.Sprintf("%s=%v", name, res.Params[name]))
	}
	return strings.Join(list, separator)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
