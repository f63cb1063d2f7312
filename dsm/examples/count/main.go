// Count counts one word up from all copies of the program, which runs wherever Go does:
// dsm run -n 4 --access embedded -- go run ./dsm/examples/count
package main

import (
	"context"
	"fmt"

	"pagemesh/dsm"
)

func main() {
	ctx := context.Background()
	s := must(dsm.Open(ctx, must(dsm.ConfigFromEnv())))
	defer s.Leave(ctx)
	r := must(s.Region(ctx, "sum", dsm.RegionOptions{Size: 8}))
	must(r.Add(ctx, 0, uint64(s.Rank())+1)) // one word of memory, shared by all
	must(true, s.Barrier("added", len(s.Members())).Wait(ctx))
	fmt.Printf("%v sees %d\n", s.Self(), must(r.Load(ctx, 0)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
