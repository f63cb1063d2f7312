package profile

import (
	"strconv"
	"strings"

	pprof "github.com/google/pprof/profile"

	"pagemesh/dsm/trace"
)

// writer fills a profile, with one location for each line.
type writer struct {
	*pprof.Profile
	places    map[trace.Site]*pprof.Location
	functions map[pprof.Function]*pprof.Function // without their IDs
}

func (w *writer) location(s trace.Site) *pprof.Location {
	if l := w.places[s]; l != nil {
		return l
	}
	file, line := s.Line, int64(0)
	if i := strings.LastIndexByte(s.Line, ':'); i >= 0 {
		file = s.Line[:i]
		line, _ = strconv.ParseInt(s.Line[i+1:], 10, 64) // no number, no line
	}
	l := &pprof.Location{
		ID:   uint64(len(w.Location) + 1),
		Line: []pprof.Line{{Function: w.function(s.Function, file), Line: line}},
	}
	w.places[s] = l
	w.Location = append(w.Location, l)
	return l
}

func (w *writer) function(name, file string) *pprof.Function {
	key := pprof.Function{Name: name, SystemName: name, Filename: file}
	if f := w.functions[key]; f != nil {
		return f
	}
	f := key
	f.ID = uint64(len(w.Function) + 1)
	w.functions[key] = &f
	w.Function = append(w.Function, &f)
	return &f
}
