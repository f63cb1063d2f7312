package debug_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	pprof "github.com/google/pprof/profile"

	"pagemesh/dsm"
	"pagemesh/dsm/debug"
	"pagemesh/dsm/trace"
)

// get returns the answer to a request for what is below /debug/dsm/.
func get(t *testing.T, at *httptest.Server, what string, want int) []byte {
	t.Helper()
	r, err := at.Client().Get(at.URL + debug.Prefix + what)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != want {
		t.Fatalf("%s: status %d, want %d: %s", what, r.StatusCode, want, b)
	}
	return b
}

func TestHandler(t *testing.T) {
	s, err := dsm.Open(t.Context(), dsm.Config{Cluster: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Region(t.Context(), "words", dsm.RegionOptions{Size: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mutex("m").Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(debug.Handler(s))
	defer at.Close()

	if b := get(t, at, "", http.StatusOK); !strings.Contains(string(b), debug.Prefix+"profile") {
		t.Errorf("index: %s", b)
	}
	if _, err := pprof.ParseData(get(t, at, "profile?seconds=0", http.StatusOK)); err != nil {
		t.Errorf("profile: %v", err)
	}
	file, err := trace.NewReader(bytes.NewReader(get(t, at, "trace?seconds=0", http.StatusOK)))
	if err == nil {
		_, err = file.Next()
	}
	if err != nil {
		t.Errorf("trace: %v", err)
	}
	if b := get(t, at, "report", http.StatusOK); len(b) == 0 {
		t.Error("the report is empty")
	}
	for what, want := range map[string]string{
		"status": `"words"`, "locks": `"mutex"`, "pages?region=words": `[`, "report?format=json": `"fine"`,
	} {
		if b := get(t, at, what, http.StatusOK); !json.Valid(b) || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, want JSON with %s", what, b, want)
		}
	}
	get(t, at, "profile?seconds=-1", http.StatusBadRequest)
	get(t, at, "trace?seconds=day", http.StatusBadRequest)
	get(t, at, "pages?top=x", http.StatusBadRequest)
	get(t, at, "nothing", http.StatusNotFound)
	_ = s.Close()
	get(t, at, "status", http.StatusInternalServerError)
}
