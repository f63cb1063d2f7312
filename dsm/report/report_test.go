package report_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pagemesh/dsm"
	"pagemesh/dsm/layout"
	"pagemesh/dsm/report"
	"pagemesh/dsm/sharing"
	"pagemesh/pagetable"
)

const n1, n2, n3 = pagetable.NodeID(1), pagetable.NodeID(2), pagetable.NodeID(3)

type worker struct {
	Hits, Misses int64
	_            [16]byte
}

// second is the time of each node in these tests, in nanoseconds.
const second = 1_000_000_000

// status is a space of two nodes that have lost so much each.
func status(lost uint64) dsm.Status {
	node := func(n pagetable.NodeID) dsm.NodeStats {
		return dsm.NodeStats{Node: n, Counts: dsm.Counts{LostNanos: lost}, WallNanos: second}
	}
	return dsm.Status{Access: "embedded", Nodes: []dsm.NodeStats{node(n1), node(n2)},
		Regions: []dsm.RegionStatus{{Name: "r", Consistency: "sequential"}, {Name: "s", Consistency: "release"}}}
}

func words(of ...int) (list []sharing.Span) {
	for _, w := range of {
		list = append(list, sharing.Span{Start: 8 * w, End: 8*w + 8})
	}
	return list
}

func writes(n pagetable.NodeID, at ...int) sharing.Node {
	return sharing.Node{Node: n, Again: words(at...), Counts: sharing.Counts{WriteFaults: 50, Returns: 49, Tenures: 50, WaitNanos: 50_000}}
}

func reads(n pagetable.NodeID, at ...int) sharing.Node {
	return sharing.Node{Node: n, ReadAgain: words(at...),
		Counts: sharing.Counts{ReadFaults: 50, Returns: 49, Copies: 50, Brief: 50, Places: 50, WaitNanos: 40_000}}
}

// page is a page of a region that has cost so much, homed at n1.
func page(region string, index, lost uint64, nodes ...sharing.Node) dsm.PageStats {
	p := dsm.PageStats{Region: region, Page: index, Offset: index * 4096, Size: 4096, Home: n1,
		Counts: dsm.Counts{LostNanos: lost, WriteFaults: 100, BytesIn: 100 * 4096, BytesChanged: 800}}
	p.Sharing = sharing.Page{Home: n1, Nodes: nodes}
	p.Verdict = sharing.Classify(p.Sharing)
	return p
}

// of gives a page a type.
func of[T any](p dsm.PageStats, heap bool) dsm.PageStats {
	t := layout.Of(reflect.TypeFor[T]())
	p.Types = []layout.Range{{End: 1 << 20, Stride: uint64(t.Size), Type: t.String(), Heap: heap}}
	return p
}

func kinds(f report.Finding) string {
	var list []string
	for _, c := range f.Cures {
		if !slices.Contains(report.Kinds(), c.Kind) {
			list = append(list, "unknown:")
		}
		list = append(list, c.Kind)
	}
	return strings.Join(list, " ")
}

// TestFindings: what is said of each kind of culprit, with the names and the cures.
func TestFindings(t *testing.T) {
	under := func(n sharing.Node) sharing.Node { n.Lock, n.UnderLock = "m", 50; return n }
	snatched := func(n sharing.Node) sharing.Node { n.Short, n.Eager = 50, 49; return n }
	taken := func(n sharing.Node) sharing.Node {
		n.Upgrades, n.Taken, n.ReadFaults, n.WriteFaults = 50, 50, 50, 0
		return n
	}
	tests := []struct {
		name             string
		page             dsm.PageStats
		what             string // in the verdict
		names            string
		cures            string
		title, firstCure string
	}{
		{"elements of an array", of[worker](page("r", 1, second, writes(n1, 0), writes(n2, 4)), false),
			"false sharing of []worker", "[]worker[128].Hits []worker[129].Hits", "pad release accumulate",
			"2 nodes write different words of this page.", "pad worker to one element a page: _ [4064]byte"},
		{"fields of one element", of[worker](page("r", 1, second, writes(n1, 0), writes(n2, 1)), false),
			"false sharing of []worker", "[]worker[128].Hits []worker[128].Misses", "split release accumulate", "",
			"split worker: put the fields that different nodes write into structs of their own, a page (4096 bytes) apart"},
		{"objects in a heap", of[worker](page("r", 1, second, writes(n1, 0), writes(n2, 4)), true),
			"false sharing of worker", "worker@4096.Hits worker@4128.Hits", "own-heap pad release accumulate", "", ""},
		{"numbers", of[int64](page("r", 0, second, writes(n1, 0, 2, 4, 6, 8, 10), writes(n2, 400)), false),
			"false sharing of []int64", "[]int64[0] []int64[2] []int64[4] []int64[6] []int64[400]", "partition page-size release", "",
			"let each node use whole pages of []int64: parts that begin at multiples of 512 elements"},
		{"nobody knows what", page("r", 0, second, writes(n1, 0), writes(n2, 1)),
			"false sharing of region r", " ", "pad release accumulate", "", "keep what each node writes a page (4096 bytes) apart from what others do"},
		{"in a release region", page("s", 0, second, writes(n1, 0), writes(n2, 1)),
			"false sharing of region s", " ", "pad accumulate", "", ""},
		{"read beside what is written", of[worker](page("r", 0, second, writes(n1, 0), reads(n2, 4)), false),
			"false sharing of []worker", "[]worker[0].Hits []worker[1].Hits", "separate release accumulate",
			"n2 seem to read other words of this page than n1 writes (90 % sure).", ""},
		{"the same word", of[worker](page("r", 0, second, snatched(writes(n1, 0)), snatched(writes(n2, 0))), false),
			"thrashing of []worker", "[]worker[0].Hits []worker[0].Hits", "accumulate mutex batch one-node", "", ""},
		{"the same word at leisure, read first", of[worker](page("r", 0, second, taken(writes(n1, 0)), taken(writes(n2, 0))), false),
			"migration of []worker", "[]worker[0].Hits []worker[0].Hits", "batch exclusive", "", ""},
		{"under a mutex", page("r", 0, second, under(writes(n1, 0)), under(writes(n2, 0))),
			"data moving apart from its lock of region r", " ", "batch release", `It follows mutex "m" between 2 nodes.`, `do more each time mutex "m" is locked`},
		{"a word written and read", of[worker](page("r", 0, second, writes(n1, 0), reads(n2, 0)), false),
			"small transfers of []worker", "[]worker[0].Hits []worker[0].Hits", "separate page-size batch prefetch", "Written by n1 and fetched by n2.", ""},
		{"a home that has no part", page("r", 0, second, writes(n2, 0), writes(n3, 0)),
			"migration of region r", " ", "batch home", "", ""},
		{"homed elsewhere", page("r", 0, second, writes(n2, 0)),
			"misplaced homes of region r", "", "home prefetch", "Written by n2 alone but homed at n1.", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := report.New(status(second), []dsm.PageStats{test.page}, nil)
			if len(r.Findings) != 1 || r.Fine || !strings.Contains(r.Verdict, test.what) {
				t.Fatalf("%+v", r)
			}
			f := r.Findings[0]
			var names []string
			for _, p := range f.Parts {
				for _, u := range p.Uses {
					names = append(names, u.Name)
				}
			}
			if got := strings.Join(names, " "); got != test.names {
				t.Errorf("names %q, want %q", got, test.names)
			}
			if got := kinds(f); got != test.cures {
				t.Errorf("cures %q, want %q", got, test.cures)
			}
			if test.title != "" && f.Title != test.title {
				t.Errorf("title %q, want %q", f.Title, test.title)
			}
			if test.firstCure != "" && f.Cures[0].Text != test.firstCure {
				t.Errorf("cure %q, want %q", f.Cures[0].Text, test.firstCure)
			}
			if !f.Complaint || f.LostShare != 0.5 || f.Amplification != 512 {
				t.Errorf("complaint %v, share %v, amplification %v", f.Complaint, f.LostShare, f.Amplification)
			}
		})
	}
}

// TestNothingToComplainAbout: time that was not lost, or had to be, accuses nobody.
func TestNothingToComplainAbout(t *testing.T) {
	bulk := page("r", 0, second, writes(n1, 0), reads(n2, 0))
	bulk.BytesChanged = bulk.BytesIn / 2
	untouched := func(n sharing.Node) sharing.Node { n.Returns = 0; return n }
	tests := []struct {
		name    string
		lost    uint64
		pages   []dsm.PageStats
		verdict string
	}{
		{"no fault", 0, nil, "Nothing to complain about: 0 % of the time was lost to waiting for pages."},
		{"too little", second / 200, []dsm.PageStats{page("r", 0, second/200, writes(n1, 0), writes(n2, 1))},
			"Nothing to complain about: 0.5 % of the time was lost to waiting for pages."},
		{"many times too little", second / 10, nil,
			"Nothing to complain about: 10 % of the time was lost to waiting for pages, little by little."},
		{"what was changed is fetched", second, []dsm.PageStats{bulk},
			"Nothing to complain about: 100 % of the time was lost to waiting for pages, for data that was needed where it went."},
		{"first touches", second, []dsm.PageStats{page("r", 0, second, untouched(reads(n1, 0)), untouched(reads(n2, 0)))},
			"Nothing to complain about: 100 % of the time was lost to waiting for pages, for data that was needed where it went."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if r := report.New(status(test.lost), test.pages, nil); !r.Fine || r.Verdict != test.verdict {
				t.Errorf("fine %v: %s", r.Fine, r.Verdict)
			}
		})
	}
	if r := report.New(dsm.Status{}, nil, nil); !r.Fine || r.Verdict != "Nothing was measured." {
		t.Errorf("of nothing: %+v", r)
	}
}

// TestFindingsAreRanked: pages of one cause are one finding, causes come by what they cost, and small ones are left.
func TestFindingsAreRanked(t *testing.T) {
	pages := []dsm.PageStats{
		page("r", 3, second/10, writes(n1, 0), writes(n2, 1)),
		page("s", 0, second/4, writes(n1, 0), writes(n2, 1)),
		page("r", 5, second/5, writes(n1, 0), writes(n2, 1)),
		page("r", 7, second/8, writes(n1, 0), writes(n2, 0)),
		page("r", 8, second/100, writes(n1, 0), reads(n2, 0)),
	}
	r := report.New(status(second/2), pages, nil)
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Region, f.Class.String())
	}
	want := []string{"r", "falsely-shared", "s", "falsely-shared", "r", "migratory"}
	if !slices.Equal(got, want) {
		t.Fatalf("findings %v, want %v", got, want)
	}
	if f := r.Findings[0]; !slices.Equal(f.Pages, []uint64{5, 3}) || f.LostNanos != second*3/10 || f.Faults != 200 {
		t.Errorf("%+v", f)
	}
	if want := uint64(second - second*3/10 - second/4 - second/8); r.RestNanos != want {
		t.Errorf("the rest is %d, want %d", r.RestNanos, want)
	}
}

// TestLinesGoWithTheirBytes: a line is told with the bytes at which it waited.
func TestLinesGoWithTheirBytes(t *testing.T) {
	p := of[worker](page("r", 0, second, writes(n1, 0, 5), writes(n2, 4)), false)
	site := func(n pagetable.NodeID, line, access string, start int) dsm.SiteStats {
		return dsm.SiteStats{Node: n, Line: line, Function: "main.f", Access: access, Samples: 3, Start: start, End: start + 8}
	}
	p.Sites = []dsm.SiteStats{site(n1, "/a/w.go:1", "write", 0), site(n1, "/a/w.go:2", "write", 40), site(n1, "/a/w.go:3", "read", 0),
		site(n2, "/a/w.go:4", "write", 32), site(n2, "/a/w.go:5", "write", 800)}
	r := report.New(status(second), []dsm.PageStats{p}, nil)
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	want := `100 % of the time was lost to waiting for pages, to false sharing of []worker (50 %).

1. falsely-shared: r[0], []worker, 1s lost, 50 % of the time
   2 nodes write different words of this page.
   n1 (0 reads, 50 writes waited) write [0,8) []worker[0].Hits at w.go:1 in main.f
                                  write [40,48) []worker[1].Misses at w.go:2 in main.f
                                  at w.go:3 in main.f
   n2 (0 reads, 50 writes waited) write [32,40) []worker[1].Hits at w.go:4 in main.f
                                  at w.go:5 in main.f
   100 faults moved 400 KiB for 800 bytes that were changed: 512.0 for each
   Cure: pad worker to one element a page: _ [4064]byte
         or, if nodes use it between locks and barriers only, make "r" a release region (pagetable.Release): several nodes may write a page at once
         add up in a local variable and write the sum now and then
   Gain: can't be told from what was recorded
   Sure: proven: no word was written by two of n1 and n2

All else: 1s, 50 %.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	var back report.Report
	js, err := json.Marshal(r)
	if err != nil || json.Unmarshal(js, &back) != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("JSON gives\n%+v\nof\n%+v (%v)", back, r, err)
	}
}
