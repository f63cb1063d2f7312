package locks

import (
	"slices"

	"pagemesh/pagetable"
)

// doubt is what a loss has made uncertain: a mutex that is not known here and had one of the nodes for a
// home may have been held by one that is lost.
type doubt struct {
	past []func(ID) pagetable.NodeID // the homes, by view
	// gone were lost with what they knew, or cut off, or know of losses before this home began, of which
	// they can't say what these made uncertain.
	gone []pagetable.NodeID
}

// doubted reports whether a mutex that is not known here may have been held by a node that is lost.
func (h *home) doubted(id ID) bool {
	return slices.ContainsFunc(h.doubts, func(d doubt) bool { return anyHome(d.past, id, d.gone) })
}

// doubt keeps what the views since the home was settled have made uncertain. Without a loss that is nothing.
func (h *home) doubt(rb *rebuild) {
	if gone := slices.Concat(rb.lost, rb.mute, rb.doubtful); h.firstLoss != 0 && len(gone) > 0 {
		h.doubts = append(h.doubts, doubt{rb.past, gone})
	}
}

// lossIn notes the epoch of a loss.
func (h *home) lossIn(epoch uint64) {
	if h.firstLoss == 0 || epoch < h.firstLoss {
		h.firstLoss = epoch
	}
}
