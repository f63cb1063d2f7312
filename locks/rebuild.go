package locks

import (
	"cmp"
	"slices"

	"pagemesh/pagetable"
)

// rebuild is what a home collects from the beginning of an epoch until every node that owes reports
// has said ReportsDone. If the next epoch begins before that, what was collected is void, because the
// nodes report again; but what was lost stays lost.
type rebuild struct {
	due      []pagetable.NodeID // who owes a ReportsDone; none: the home is settled
	reports  []received
	deferred []received // requests, in the order in which they came

	// From the last time that the home was settled until now:

	lost []pagetable.NodeID          // nodes that were lost
	mute []pagetable.NodeID          // nodes whose ReportsDone was due when an epoch ended, or see cutOff
	past []func(ID) pagetable.NodeID // where locks were homed, by view
	// doubtful are nodes that know of a loss before this home began.
	doubtful []pagetable.NodeID
}

type received struct {
	from pagetable.NodeID
	msg  Message
}

func (rb *rebuild) settled() bool { return len(rb.due) == 0 }

// begin starts to collect. A node that leaves is no home any more and collects nothing.
//
// One that has left and has not been heard is lost to this home, with what it had to return.
func (rb *rebuild) begin(self pagetable.NodeID, v *View) {
	rb.mute = append(rb.mute, rb.due...)
	for _, n := range rb.due {
		if !slices.Contains(v.Members, n) && !slices.Contains(v.Left, n) && !slices.Contains(v.Lost, n) {
			rb.lost = append(rb.lost, n)
		}
	}
	rb.reports, rb.deferred, rb.due = nil, nil, nil
	rb.lost = append(rb.lost, v.Lost...)
	rb.past = append(rb.past, v.Home)
	if slices.Contains(v.Members, self) {
		rb.due = slices.Concat(v.Members, v.Left)
	}
}

// report keeps a report or a Handover.
func (rb *rebuild) report(from pagetable.NodeID, msg Message) {
	if !slices.Contains(rb.due, from) {
		impossible(from, msg, rb.due)
	}
	rb.reports = append(rb.reports, received{from, msg})
}

// handovers takes out what a node has handed over.
func (rb *rebuild) handovers(from pagetable.NodeID) []received {
	var got []received
	rb.reports = slices.DeleteFunc(rb.reports, func(in received) bool {
		if in.from != from || !in.msg.Kind.handsOver() {
			return false
		}
		got = append(got, in)
		return true
	})
	return got
}

// done notes that a node has reported everything, and reports whether it was the last.
func (rb *rebuild) done(from pagetable.NodeID, msg Message) bool {
	i := slices.Index(rb.due, from)
	if i < 0 {
		impossible(from, msg, rb.due)
	}
	rb.due = slices.Delete(rb.due, i, i+1)
	return rb.settled()
}

// take returns what was collected, in an order that does not depend on the network, and leaves the
// state of a settled home.
func (rb *rebuild) take() rebuild {
	got := *rb
	slices.SortStableFunc(got.reports, func(a, b received) int { return cmp.Compare(a.from, b.from) })
	*rb = rebuild{past: got.past[len(got.past)-1:]}
	return got
}

// cutOff notes a node, other than this one, that was a home and may have missed a Handover to it, so
// that it could not hand on what it should have known:
//
//  1. n1 hands barrier b to n2, the home in epoch 2.
//  2. n2 takes up epoch 3, in which n3 is the home, before the Handover arrives.
//  3. n3 has ReportsDone of n1 for epoch 2 and can't know that n2 has not.
func (rb *rebuild) cutOff(n pagetable.NodeID) { rb.mute = append(rb.mute, n) }

// memoryLost reports whether what an earlier home knew of a lock that this one does not know may be
// lost: the home is lost, or an epoch has cut off its Handover, or the one to it.
func (rb *rebuild) memoryLost(id ID) bool {
	return anyHome(rb.past, id, rb.lost) || anyHome(rb.past, id, rb.mute)
}

// anyHome reports whether a lock was homed at one of the nodes in one of the views.
func anyHome(past []func(ID) pagetable.NodeID, id ID, nodes []pagetable.NodeID) bool {
	return slices.ContainsFunc(past, func(home func(ID) pagetable.NodeID) bool {
		return slices.Contains(nodes, home(id))
	})
}
