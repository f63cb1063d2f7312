package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/nearest"
	"pagemesh/dsm"
)

// checkRegion returns an error if the space has no region of that name, or the region no such page; -1 is any.
func checkRegion(ctx context.Context, in *dsm.Inspector, name string, page int64) error {
	st, err := in.Status(ctx)
	if err != nil {
		return err
	}
	names := []string{}
	for _, r := range st.Regions {
		if r.Name == name {
			return checkPage(r, page)
		}
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("the space has no region %q: it has none yet", name)
	}
	return fmt.Errorf("the space has no region %q: %s", name,
		nearest.Suggest(name, names, "", "it has "+strings.Join(names, ", ")))
}

func checkPage(r dsm.RegionStatus, page int64) error {
	if last := (int64(r.Size) - 1) / int64(r.PageSize); page > last {
		return fmt.Errorf("region %q has no page %d: give one from 0 to %d", r.Name, page, last)
	}
	return nil
}

// completeRegion offers the regions of the space, if it can be reached.
func (f *inspectFlags) completeRegion(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	in, err := f.dial(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer in.Close()
	st, err := in.Status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, r := range st.Regions {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
