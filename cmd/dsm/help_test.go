package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pagemesh/bench"
	"pagemesh/dsm"
	findings "pagemesh/dsm/report"
)

// TestJSONIsDocumented: the help of a command names every field of the JSON that it writes.
func TestJSONIsDocumented(t *testing.T) {
	for _, tc := range []struct {
		cmd   *cobra.Command
		value any
	}{
		{newStatus(), dsm.Status{}},
		{newPages(), dsm.PageStats{}},
		{newReport(), findings.Report{}},
		{newLocks(), dsm.LockStatus{}},
		{newTrace(), tracedEvent{}},
		{newRaces(), dsm.Race{}},
		{newBenchList(), workload{}},
		{newBenchRun(), bench.Result{}},
	} {
		help := regexp.MustCompile(`[a-z0-9_]+`).FindAllString(tc.cmd.Long, -1)
		for _, name := range jsonNames(reflect.TypeOf(tc.value)) {
			if !slices.Contains(help, name) {
				t.Errorf("the help of dsm %s lacks %q", tc.cmd.Name(), name)
			}
		}
	}
}

// jsonNames returns the names of all fields that a value of that type has in JSON. What pages of a
// benchmark's results hold is in the help of dsm pages, what their reports hold in that of dsm report, and what their
// races hold in that of dsm races.
func jsonNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		return jsonNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			names = append(names, name)
		}
		if name != "busiest" && name != "report" && name != "races" {
			names = append(names, jsonNames(f.Type)...)
		}
	}
	return names
}
