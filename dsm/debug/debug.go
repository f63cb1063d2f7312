// Package debug shows over HTTP what a space does, as net/http/pprof does for a program:
//
//	http.Handle("/debug/dsm/", debug.Handler(space))
//
// Below /debug/dsm/ are
//
//	profile  a profile for go tool pprof, see package profile; ?seconds=30 and ?region=name. ?seconds=0 is about
//	         what the nodes still remember
//	trace    events for dsm trace --read, with the same parameters
//	report   what page traffic costs and what to change, as text; ?format=json
//	status   members, regions and totals; this and what follows is JSON
//	pages    the busiest pages; ?region=name and ?top=100
//	locks    mutexes, barriers and the like
//
// Whoever can ask sees names and lines of programs, but no contents of memory. Serve it where only they can.
package debug

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pagemesh/dsm"
	"pagemesh/dsm/profile"
	"pagemesh/dsm/report"
	"pagemesh/dsm/trace"
)

// Prefix is where a Handler is to be found.
const Prefix = "/debug/dsm/"

const (
	// defaultSeconds is how long a profile or trace is if nobody says so, and maxSeconds how long it may be.
	defaultSeconds = 30
	maxSeconds     = 3600
	// answerTime bounds how long everything else may take.
	answerTime = 10 * time.Second
	// collectEvery is how often events are fetched.
	collectEvery = 20 * time.Millisecond
	defaultTop   = 100
)

// Handler serves s.
func Handler(s *dsm.Space) http.Handler {
	h := handler{s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"{$}", index)
	mux.HandleFunc("GET "+Prefix+"profile", h.profile)
	mux.HandleFunc("GET "+Prefix+"trace", h.trace)
	mux.HandleFunc("GET "+Prefix+"report", h.report)
	mux.HandleFunc("GET "+Prefix+"status", value(func(ctx context.Context, _ *http.Request) (any, error) { return s.Status(ctx) }))
	mux.HandleFunc("GET "+Prefix+"locks", value(func(ctx context.Context, _ *http.Request) (any, error) { return s.Locks(ctx) }))
	mux.HandleFunc("GET "+Prefix+"pages", value(h.pages))
	return mux
}

type handler struct{ s *dsm.Space }

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	for _, what := range []string{"report", "status", "pages", "locks", "profile", "trace"} {
		fmt.Fprintf(w, "<p><a href=\"%s%s\">%s</a>\n", Prefix, what, what)
	}
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Del("Content-Disposition")
	http.Error(w, err.Error(), status)
}

// seconds returns for how long r asks.
func seconds(r *http.Request) (time.Duration, error) {
	n, err := number(r, "seconds", defaultSeconds, maxSeconds)
	return time.Duration(n) * time.Second, err
}

// number returns a parameter from 0 to most.
func number(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s=%s: give a number from 0 to %d", name, text, most)
	}
	return n, nil
}

// download names what follows.
func download(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

func (h handler) profile(w http.ResponseWriter, r *http.Request) {
	d, err := seconds(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	p, err := profile.Collect(r.Context(), h.s, r.FormValue("region"), d)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	download(w, "dsm.pprof")
	_ = p.Write(w) // who does not wait for it does not need it
}

func (h handler) trace(w http.ResponseWriter, r *http.Request) {
	d, err := seconds(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	tr := h.s.Trace(dsm.TraceQuery{Region: r.FormValue("region"), Page: -1, Held: d == 0})
	ctx, cancel := context.WithTimeout(r.Context(), d+answerTime)
	defer cancel()
	first, err := tr.Next(ctx)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	download(w, "dsm.trace")
	_ = follow(ctx, w, tr, &first, d) // the file ends where it breaks off
}

// follow writes the events of tr to a file, first and what comes for as long as d.
func follow(ctx context.Context, w io.Writer, tr *dsm.Tracer, first *trace.Chunk, d time.Duration) error {
	file, err := trace.NewWriter(w)
	if err != nil {
		return err
	}
	tick, end := time.NewTicker(collectEvery), time.After(d)
	defer tick.Stop()
	for ch, last := *first, d == 0; ; {
		if err := file.Write(&ch); err != nil || last {
			return err
		}
		select {
		case <-tick.C:
		case <-end:
			last = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if ch, err = tr.Next(ctx); err != nil {
			return err
		}
	}
}

func (h handler) report(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("format") == "json" {
		value(func(ctx context.Context, _ *http.Request) (any, error) { return report.Of(ctx, h.s) })(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	found, err := report.Of(ctx, h.s)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = found.WriteTo(w)
}

func (h handler) pages(ctx context.Context, r *http.Request) (any, error) {
	top, err := number(r, "top", defaultTop, 1<<20)
	if err != nil {
		return nil, badRequest{err}
	}
	return h.s.Pages(ctx, dsm.PageQuery{Region: r.FormValue("region"), Page: -1, Top: top})
}

// badRequest is an error of who asks.
type badRequest struct{ error }

// value serves what of returns as JSON.
func value(of func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		v, err := of(ctx, r)
		var b []byte
		if err == nil {
			b, err = json.Marshal(v)
		}
		switch err := err.(type) {
		case nil:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append(b, '\n'))
		case badRequest:
			fail(w, http.StatusBadRequest, err)
		default:
			fail(w, http.StatusInternalServerError, err)
		}
	}
}
