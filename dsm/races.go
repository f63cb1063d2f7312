package dsm

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"pagemesh/coherence"
	"pagemesh/locks"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// races looks for data races in release regions, if Config.DetectRaces says so; see coherence/doc.go, "Races". The
// node's vector time travels ahead of messages of locks, as notices do; each diff carries a stamp; the page's home
// compares it with who wrote the same words last.
type races struct {
	s  *node
	on bool

	mu    sync.Mutex // guards what follows; taken with a page locked or the locks of syncEngine
	order coherence.Order
	codec *coherence.Codec
	lines map[uint32]string // what whereOf has found out
	found foundRaces
}

func (e *races) init(s *node) {
	e.s, e.on = s, s.cfg.DetectRaces
	e.codec, e.lines = coherence.NewCodec(), map[uint32]string{}
}

// watched reports whether races are looked for in the region.
func (r *region) watched() bool { return r.release && r.s.races.on }

// newEpoch begins the epoch that the locks begin. The caller holds the mu of syncEngine.
func (e *races) newEpoch(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.on && epoch != e.order.Epoch() {
		e.order.NewEpoch(e.s.self, epoch)
	}
}

// released takes up that this node gives a lock back, or arrives at a barrier. The caller holds the mu of syncEngine,
// and has released what was written before.
func (e *races) released(id locks.ID) {
	if !e.on {
		return
	}
	closed := e.s.intervals.closed()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.order.Released(uint64(id), closed)
}

// acquired takes up that somebody here has a lock or has come through a barrier. The caller holds the mu of
// syncEngine.
func (e *races) acquired(id locks.ID) {
	if !e.on {
		return
	}
	e.mu.Lock()
	news := e.order.News(uint64(id))
	e.mu.Unlock()
	if news {
		e.s.intervals.spill()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.order.Acquired(uint64(id))
}

// tell sends what comes before a message of a lock. The caller holds the mu of syncEngine.
func (e *races) tell(out *transport.Outbox, o locks.Outgoing) {
	if !e.on {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t := coherence.LockTime{Epoch: e.order.Epoch(), Lock: uint64(o.Msg.ID), Before: e.order.Tell(uint64(o.Msg.ID))}
	if len(t.Before) > 0 {
		_ = out.Send(o.To, e.codec.EncodeLockTime(classTime, t), nil) // who can't be reached is about to be declared lost
	}
}

// learn takes up what a peer has sent ahead of a message of a lock, or returns false if that has to wait for a view.
func (e *races) learn(p *peer, b []byte) (done bool, err error) {
	if !e.on {
		return false, fmt.Errorf("%v sends the time of a lock to a node that does not detect races", p.node)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.codec.DecodeLockTime(b)
	switch {
	case err != nil || t.Epoch > e.order.Epoch():
		return false, err
	case t.Epoch == e.order.Epoch():
		e.order.Learn(t.Lock, t.Before)
	}
	return true, nil
}

// stamp returns the stamp of a diff of an interval that is taken now. The caller holds the page's lock.
func (e *races) stamp(pg *page, interval uint32) coherence.Stamp {
	e.mu.Lock()
	defer e.mu.Unlock()
	return coherence.Stamp{
		Moment: coherence.Moment{Node: e.s.self, Interval: interval},
		Epoch:  e.order.Epoch(), Before: e.order.Before(), Where: e.whereOf(pg.changes.began.site),
	}
}

// began is where a page's open interval begins.
type began struct {
	interval uint32
	site     uint32 // of the first write
}

// began notes who is about to write a page first in an interval: whoever waits for the right to, or a view that
// goes on. The caller holds the page's lock.
func (e *races) began(pg *page, interval uint32) {
	if !e.on {
		return
	}
	b := began{interval: interval}
	for _, wt := range pg.waiters {
		if wt.want == pagetable.WriteAccess && !wt.guessed && b.site == 0 {
			b.site = wt.site
		}
	}
	for _, p := range pg.pins {
		if p.access == pagetable.WriteAccess && b.site == 0 {
			b.site = e.s.sites.resolve(p.site)
		}
	}
	pg.changes.began = b
}

// compare takes the diff that is about to be installed to the page's shadow, after what this node has itself written
// there in the open interval.
func (w *work) compare(pg *page, frame, diff []byte) {
	if !w.s.races.on || w.stamp.Node == 0 {
		return // the diff is repeated: its epoch is over
	}
	if twin := pg.changes.twin; twin != nil {
		st := w.s.races.stamp(pg, pg.changes.began.interval)
		w.conflicts = pg.changes.shadow.WriteOwn(st, frame, twin, w.conflicts[:0])
		w.report(pg, st)
	}
	w.compareDiff(pg, w.stamp, diff, len(frame))
}

// compareOwn takes what this node has written to a page of its own in the interval that ends to the page's shadow.
func (w *work) compareOwn(pg *page, frame []byte) {
	c := &pg.changes
	if !w.s.races.on || c.twin == nil || !pg.proto.Homed() {
		return
	}
	st := w.s.races.stamp(pg, c.began.interval)
	if !w.rd.DropTwin { // a view writes on: what it has written so far must not count for the next interval
		w.compareDiff(pg, st, w.passingDiff(pg, frame), len(frame))
		return
	}
	w.conflicts = c.shadow.WriteOwn(st, frame, c.twin, w.conflicts[:0])
	w.report(pg, st)
	pg.traffic.takeStock(len(frame))
}

func (w *work) compareDiff(pg *page, st coherence.Stamp, diff []byte, pageSize int) {
	w.conflicts = pg.changes.shadow.Write(st, diff, pageSize, w.conflicts[:0])
	w.report(pg, st)
}

// whereOf returns "file:line (function)" of a site. The caller holds e.mu.
func (e *races) whereOf(site uint32) string {
	where, ok := e.lines[site]
	if !ok {
		if line, function := e.s.sites.where(site); line != "" {
			where = fmt.Sprintf("%s (%s)", line, function)
		}
		e.lines[site] = where
	}
	return where
}

// unknownLine stands for a line that can't be told.
const unknownLine = "an unknown line"

// raceWrite returns the side of a report that a stamp stands for.
func raceWrite(st coherence.Stamp) RaceWrite {
	line, function, ok := strings.Cut(st.Where, " (")
	if ok {
		function = strings.TrimSuffix(function, ")")
	}
	return RaceWrite{Node: st.Node, Line: cmp.Or(line, unknownLine), Function: function}
}
