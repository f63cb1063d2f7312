package dsm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pagemesh/dsm"
)

type stats struct {
	Hits, Misses int64
	Last         [2]struct{ At float32 }
}

func init() {
	programs["layout"] = func(ctx context.Context, p *testProgram) error {
		r, err := p.Region(ctx, "stats", dsm.RegionOptions{Size: 1 << 16})
		if err != nil {
			return err
		}
		if p.rank == 0 {
			if _, err := dsm.Slice[stats](r); err != nil {
				return err
			}
		}
		if err := p.barrier(ctx, "declared"); err != nil {
			return err
		}
		_, same := dsm.Slice[stats](r)
		_, other := dsm.Slice[int64](r)
		_, part := dsm.At[int64](r, 8)
		fmt.Println(same, errors.Is(other, dsm.ErrMismatch), part)
		if other != nil && p.rank == 0 {
			fmt.Println(other)
		}
		return nil
	}
}

func TestProgramsAgreeOnLayout(t *testing.T) {
	_, sockets := serving(t, 2)
	outputs := runPrograms(t, "layout", sockets, 0)
	const why = `slice of region "stats": exists with other options: region "stats" is an array of ` +
		`dsm_test.stats/24{Hits int64 @0; Misses int64 @8; Last [2]struct/4{At float32 @0} @16}, ` +
		"not of int64: region exists with other options\n"
	for i, want := range []string{"<nil> true <nil>\n" + why, "<nil> true <nil>\n"} {
		if outputs[i] != want {
			t.Errorf("program %d: %q\nwant %q", i, outputs[i], want)
		}
	}
}
