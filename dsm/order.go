package dsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// This file orders view changes. One member, the coordinator, applies them one after the other and
// sends each new view to all. A replicated log can take its place behind propose.

// errNotCoordinator says that a change was sent to a member that does not order changes (any more).
var errNotCoordinator = errors.New("not the coordinator")

type changeKind byte

const (
	changeRegion changeKind = 'r' // create or open; payload: region; answer: region as it exists
	changeLayout changeKind = 't' // say what a region is an array of; payload: its id, layout
	changeLocks  changeKind = 'l' // place the locks
	changeLose   changeKind = 'x' // a member is lost; payload: its id
	changeLeave  changeKind = 'b' // a member begins to leave; payload: its id
	changeLeft   changeKind = 'e' // a member has handed everything over; payload: its id
)

// change is a wish for another view.
type change struct {
	kind    changeKind
	payload []byte
}

func nodeChange(kind changeKind, n pagetable.NodeID) change {
	return change{kind, binary.BigEndian.AppendUint32(nil, uint32(n))}
}

func layoutChange(id pagetable.RegionID, layout string) change {
	return change{changeLayout, append(binary.BigEndian.AppendUint32(nil, uint32(id)), layout...)}
}

func (c change) encode() []byte { return append([]byte{byte(c.kind)}, c.payload...) }

func decodeChange(b []byte) (change, error) {
	if len(b) == 0 {
		return change{}, errors.New("empty view change")
	}
	return change{changeKind(b[0]), b[1:]}, nil
}

func (c change) node() (pagetable.NodeID, error) {
	if len(c.payload) != 4 {
		return 0, fmt.Errorf("view change %q: %d bytes where a node id is due", c.kind, len(c.payload))
	}
	return pagetable.NodeID(binary.BigEndian.Uint32(c.payload)), nil
}

func (c change) layout() (pagetable.RegionID, string, error) {
	if len(c.payload) < 4 || len(c.payload) > 4+pagetable.MaxLayoutLen {
		return 0, "", fmt.Errorf("view change %q: %d bytes where a region id and a layout are due", c.kind, len(c.payload))
	}
	return pagetable.RegionID(binary.BigEndian.Uint32(c.payload)), string(c.payload[4:]), nil
}

// propose has the coordinator order a change and returns its answer once this node has the resulting
// view. If the coordinator is lost it tries again with the next one until ctx ends.
func (s *node) propose(ctx context.Context, c change) ([]byte, error) {
	for {
		if err := s.refusal(); err != nil {
			return nil, err
		}
		st := s.cur.Load()
		answer, err := s.call(ctx, st.view.Coordinator, callChange, c.encode())
		if !errors.Is(err, ErrNodeLost) && !errors.Is(err, errNotCoordinator) {
			return answer, err
		}
		select {
		case <-st.replaced:
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("view change: %w: %w", context.Cause(ctx), err)
		case <-s.done:
		}
	}
}

// retryPause is the time between two attempts to reach a coordinator.
const retryPause = 50 * time.Millisecond

// order applies a change at the coordinator and sends the view to every member of the old and the new
// view before it returns, so that a member has the view before it has the answer.
func (s *node) order(c change) ([]byte, error) {
	s.orderMu.Lock()
	defer s.orderMu.Unlock()
	v := s.view()
	if v.Coordinator != s.self {
		return nil, fmt.Errorf("%v orders view changes, not %v: %w", v.Coordinator, s.self, errNotCoordinator)
	}
	next, answer, err := apply(v, c)
	if err != nil {
		return nil, err
	}
	if next.Later(v) {
		s.publish(v, next)
	}
	return answer, nil
}

func apply(v coherence.View, c change) (next coherence.View, answer []byte, err error) {
	switch c.kind {
	case changeRegion:
		want, err := coherence.DecodeRegion(c.payload)
		if err != nil {
			return v, nil, err
		}
		next, got, err := v.AddRegion(want)
		if err != nil {
			return v, nil, regionError(err)
		}
		return next, coherence.EncodeRegion(got), nil
	case changeLayout:
		id, layout, err := c.layout()
		if err != nil {
			return v, nil, err
		}
		next, err := v.Declare(id, layout)
		return next, nil, regionError(err)
	case changeLocks:
		return v.PlaceLocks(), nil, nil
	}
	n, err := c.node()
	if err != nil {
		return v, nil, err
	}
	switch c.kind {
	case changeLose:
		next = v.Lose([]pagetable.NodeID{n})
	case changeLeave:
		next, err = v.StartLeave(n)
	case changeLeft:
		next, err = v.FinishLeave(n)
	default:
		err = fmt.Errorf("view change %q is unknown", c.kind)
	}
	return next, nil, err
}

// regionError gives the errors of a region change their public identity.
func regionError(err error) error {
	switch {
	case errors.Is(err, coherence.ErrRegionExists):
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	case errors.Is(err, coherence.ErrNoRegion):
		return fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	return err
}

// publish installs a view here and sends it to everybody concerned. The caller holds orderMu.
func (s *node) publish(old, next coherence.View) {
	body := coherence.EncodeView(next)
	out := transport.NewOutbox(s.ep)
	for _, v := range []coherence.View{old, next} {
		for _, m := range v.Members {
			if m.Node != s.self && (v.Version == next.Version || !next.Has(m.Node)) {
				_ = out.Send(m.Node, []byte{classView}, body) // a lost peer needs no view
			}
		}
	}
	out.Flush()
	s.install(next)
}
