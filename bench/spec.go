package bench

import (
	"fmt"
	"slices"
	"strings"

	"pagemesh/pagetable"
)

// Spec is one run of a workload. All ranks have the same.
type Spec struct {
	Workload string
	Class    string // one of the workload's classes; "" is its default
	Size     int    // problem size of workloads without classes; 0 is the workload's default
	Input    string // directory that an application reads; "" is its default
	PageSize int    // bytes; 0 is the workload's default
	// Placement of its arrays, one of Placements; "" is the workload's own.
	Placement string
	// Consistency of its arrays, one of Consistencies; "" is sequential. What ranks use without a lock or barrier
	// between them stays sequential.
	Consistency string
}

// Placements returns what Spec.Placement may be.
func Placements() []string { return []string{pagetable.Hashed.String(), pagetable.Blocked.String()} }

// Consistencies returns what Spec.Consistency may be.
func Consistencies() []string {
	return []string{pagetable.Sequential.String(), pagetable.Release.String()}
}

// consistency returns that of an array.
func (s Spec) consistency(l layout) pagetable.Consistency {
	if l.release || s.Consistency == pagetable.Release.String() && !l.words {
		return pagetable.Release
	}
	return pagetable.Sequential
}

// placement returns where a workload's pages are homed that it would place by itself as usual says.
func (s Spec) placement(usual pagetable.PlacementKind) pagetable.PlacementKind {
	switch s.Placement {
	case pagetable.Hashed.String():
		return pagetable.Hashed
	case pagetable.Blocked.String():
		return pagetable.Blocked
	}
	return usual
}

// Specs returns the runs of the named workloads, or of the default ones that make sense with that
// number of ranks if none is named. What else they have in common is taken from like. Among several
// workloads, each takes what concerns it: a class goes to those that have classes, a size to the others,
// an input to those that read one.
func Specs(names []string, like Spec, ranks int) ([]Spec, error) {
	names = orDefaults(names, ranks)
	var specs []Spec
	for _, name := range names {
		s := like
		s.Workload = name
		if len(names) > 1 {
			s = s.concerned()
		}
		if err := s.Check(ranks); err != nil {
			return nil, err
		}
		specs = append(specs, s)
	}
	if like.Class != "" && !slices.ContainsFunc(specs, func(s Spec) bool { return s.Class != "" }) {
		return nil, fmt.Errorf("none of %s has classes: leave out class %q", strings.Join(names, ", "), like.Class)
	}
	return specs, nil
}

func orDefaults(names []string, ranks int) []string {
	if len(names) > 0 {
		return names
	}
	for _, w := range List() {
		if w.Default && ranks >= w.MinRanks {
			names = append(names, w.Name)
		}
	}
	return names
}

// concerned returns s without what means nothing to its workload.
func (s Spec) concerned() Spec {
	w := workloads[s.Workload]
	if len(w.Classes) == 0 {
		s.Class = ""
	} else {
		s.Size = 0
	}
	if !w.Reads {
		s.Input = ""
	}
	return s
}

// Check returns what is wrong with a spec for that number of ranks, nil if nothing is.
func (s Spec) Check(ranks int) error {
	w, ok := workloads[s.Workload]
	switch {
	case !ok:
		return fmt.Errorf("there is no workload %q: dsm bench list names them", s.Workload)
	case ranks < w.MinRanks:
		return fmt.Errorf("workload %q needs %d nodes or more, not %d", w.Name, w.MinRanks, ranks)
	case s.Placement != "" && !slices.Contains(Placements(), s.Placement):
		return fmt.Errorf("placement %q: choose one of %s", s.Placement, strings.Join(Placements(), ", "))
	case s.Consistency != "" && !slices.Contains(Consistencies(), s.Consistency):
		return fmt.Errorf("consistency %q: choose one of %s", s.Consistency, strings.Join(Consistencies(), ", "))
	case s.Input != "" && !w.Reads:
		return fmt.Errorf("workload %q reads no input: leave out %q", w.Name, s.Input)
	}
	if err := s.checkClass(w); err != nil {
		return err
	}
	return s.checkSizes(w)
}

func (s Spec) checkClass(w Workload) error {
	switch {
	case s.Class == "" || slices.Contains(w.Classes, s.Class):
		return nil
	case len(w.Classes) == 0:
		return fmt.Errorf("workload %q has no classes: leave out class %q", w.Name, s.Class)
	}
	return fmt.Errorf("workload %q has no class %q: choose one of %s", w.Name, s.Class, strings.Join(w.Classes, ", "))
}

func (s Spec) checkSizes(w Workload) error {
	p := s.PageSize
	switch {
	case s.Size < 0:
		return fmt.Errorf("size %d: choose a number above 0", s.Size)
	case s.Size > 0 && len(w.Classes) > 0:
		return fmt.Errorf("workload %q has classes instead of sizes: choose one of %s", w.Name, strings.Join(w.Classes, ", "))
	case p != 0 && (p < pagetable.MinPageSize || p > pagetable.MaxPageSize || p&(p-1) != 0):
		return fmt.Errorf("page size %d: choose a power of two from %d to %d", p, pagetable.MinPageSize, pagetable.MaxPageSize)
	}
	return nil
}
