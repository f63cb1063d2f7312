package bench

import (
	"os"
	"slices"
	"testing"

	"pagemesh/dsm/report"
	"pagemesh/dsm/sharing"
)

// TestGallery: reports name the culprits whose pages tell them apart, and accuse nobody else. What is told by times alone
// takes an idle machine.
func TestGallery(t *testing.T) {
	timed := []string{"ping-pong-word", "hot-lock-word", "migratory-object", "small-messages", "read-beside-write"}
	var specs []Spec
	for _, w := range List() {
		if w.Suite == "gallery" && (os.Getenv("PAGEMESH_LONG") != "" || !slices.Contains(timed, w.Name)) {
			specs = append(specs, Spec{Workload: w.Name})
		}
	}
	for _, r := range runAll(t, 2, specs...) {
		if !r.Verified {
			t.Errorf("%s: %s", r.Workload, r.Detail)
		}
	}
}

// TestExhibitWantsAllOfIt: a report that misses the class, the data or the function has not found the culprit.
func TestExhibitWantsAllOfIt(t *testing.T) {
	e := exhibit{classes: []sharing.Class{sharing.FalselyShared}, names: []string{"[]score[0].Hits", "score@*.Misses"}, function: "f"}
	finding := func(change func(*report.Finding)) *report.Report {
		f := report.Finding{Class: sharing.FalselyShared, Complaint: true, Parts: []report.Part{
			{Uses: []report.Use{{Name: "[]score[0].Hits"}}, Lines: []report.Line{{Line: "/x/gallery.go:1", Function: "pagemesh/bench.f.func1"}}},
			{Uses: []report.Use{{Name: "score@128.Misses"}}},
		}}
		change(&f)
		return &report.Report{Findings: []report.Finding{f}}
	}
	if !e.accused(finding(func(*report.Finding) {})) {
		t.Error("the culprit is not found")
	}
	for what, change := range map[string]func(*report.Finding){
		"the class":     func(f *report.Finding) { f.Class = sharing.Migratory },
		"a complaint":   func(f *report.Finding) { f.Complaint = false },
		"one name":      func(f *report.Finding) { f.Parts[0].Uses[0].Name = "[]score[1].Hits" },
		"the other one": func(f *report.Finding) { f.Parts[1].Uses[0].Name = "score@128.Hits" },
		"the function":  func(f *report.Finding) { f.Parts[0].Lines[0].Function = "pagemesh/bench.g.func1" },
		"the file":      func(f *report.Finding) { f.Parts[0].Lines[0].Line = "/x/other.go:1" },
	} {
		if e.accused(finding(change)) {
			t.Errorf("a report without %s will do", what)
		}
	}
}

// TestPredictionsAreWeighed: a gain that is predicted must be near the one that was measured.
func TestPredictionsAreWeighed(t *testing.T) {
	e := exhibit{classes: []sharing.Class{sharing.Migratory}, cure: "batch"}
	predicting := func(gain *report.Gain) []trial {
		f := report.Finding{Class: sharing.Migratory, Complaint: true, Cures: []report.Cure{{Kind: "home"}, {Kind: "batch", Gain: gain}}}
		return []trial{{took: 100, report: report.Report{Findings: []report.Finding{f}}}}
	}
	for _, c := range []struct {
		gain  *report.Gain
		short float64
		right bool
		says  string
	}{
		{&report.Gain{Share: 0.48}, 0, true, "x: the cure saves 40 ± 0 % of the time; the report predicts 48 %."},
		{&report.Gain{Share: 0.32}, 0, true, "x: the cure saves 40 ± 0 % of the time; the report predicts 32 %."},
		{&report.Gain{Share: 0.52}, 0, false, "x: the cure saves 40 ± 0 % of the time; the report predicts 52 %."},
		{&report.Gain{Share: 0.28}, 0.3, false, "x: the cure saves 40 ± 0 % of the time; the report predicts 28 %."},
		{&report.Gain{Share: 0.28}, 0.5, true, "x: the cure saves 40 ± 0 % of the time; the report predicts 28 %. " +
			"Not compared: other programs had 25 % of the processors."},
		{nil, 0.5, true, "x: the cure saves 40 ± 0 % of the time; the report can't tell."},
	} {
		cured := []trial{{took: 60, short: c.short}}
		g := &gallery{Rank: &Rank{Spec: Spec{Workload: "x"}, job: &Job{}, Result: Result{Verified: true, Detail: "all else"}}}
		e.weigh(g, predicting(c.gain), cured)
		if got := g.Result.Reading[0]; got != c.says || g.Result.Verified != c.right {
			t.Errorf("%q, right %v; want %q, %v", got, g.Result.Verified, c.says, c.right)
		}
	}
}

// TestTrialsLeaveDoubt: a gain that is predicted may be as far off as the trials are apart.
func TestTrialsLeaveDoubt(t *testing.T) {
	if got := spread([]trial{{took: 90}, {took: 110}}); got != 1600 { // 20 is the standard error of the sum
		t.Errorf("the spread is %v, want 1600", got)
	}
	if got := spread([]trial{{took: 90}}); got != 0 {
		t.Errorf("the spread of one trial is %v", got)
	}
}
