package dsm

import (
	"fmt"
	"sync"
	"time"

	"pagemesh/coherence"
	"pagemesh/pagetable"
	"pagemesh/transport"
)

// This file is the one place where events meet the coherence protocol: a fault, a message, the end of
// a pin, or a new view goes into a page's state, and the Ready that comes out is performed at once, by
// the goroutine that brought the event, under the page's lock. The order of effects is the contract of
// package coherence.

// work is what one goroutine needs to bring events to pages. It reuses its memory.
type work struct {
	s     *node
	out   *transport.Outbox
	codec *coherence.Codec
	rd    coherence.Ready
	// local are the messages that the node sends to itself, to be stepped after the Ready that holds
	// them.
	local []coherence.Message
	// stamp is that of the Flush that is being handled, if races are looked for and it has one.
	stamp coherence.Stamp
	// conflicts are what a page's shadow says, reused.
	conflicts []coherence.Conflict
	// spare holds the bytes of a page that was taken away from programs before they were sent.
	spare []byte
	// uncounted is a fault that may have to be counted, see begin. at is the time of the present step, zero if nobody
	// has asked for it.
	uncounted *waiter
	at        time.Time
}

// noCause is the cause of what no message has caused.
var noCause coherence.Message

func (s *node) newWork() *work {
	return &work{s: s, out: transport.NewOutbox(s.ep), codec: coherence.NewCodec()}
}

// getWork returns a work for a goroutine of the program; putWork flushes it and takes it back.
func (s *node) getWork() *work { return s.works.Get().(*work) }

func (s *node) putWork(w *work) {
	w.out.Flush()
	s.works.Put(w)
}

func newWorkPool(s *node) sync.Pool {
	return sync.Pool{New: func() any { return s.newWork() }}
}

// lockLive locks a page and gives it its protocol state if it is new.
func (r *region) lockLive(index uint64) *page {
	pg := r.pages.Ensure(index)
	pg.mu.Lock()
	if !pg.live {
		// The view is read with the page locked: a later view will find this page and tell it.
		v := r.s.view()
		meta := r.meta.Load()
		makePage := coherence.MakePage
		if r.release {
			makePage = coherence.MakeReleasePage
		}
		pg.proto = makePage(pagetable.MakePageID(meta.ID, index), r.s.self, v.Home(*meta, index), v.Epoch)
		if r.watched() {
			pg.proto.Watch()
		}
		pg.live = true
	}
	return pg
}

// fault brings wt to its page. wt has ended, or will end, when the group says so. It returns false, and has
// done nothing, if wt is a trap that waits there already.
func (w *work) fault(r *region, index uint64, wt *waiter) bool {
	pg := r.lockLive(index)
	defer pg.mu.Unlock()
	wt.pg = pg
	err := w.s.refusal()
	if w.s.leaving.Load() && wt.op != opLeave {
		err = ErrClosed
	}
	if err != nil && !(wt.op == opTrap && pg.allows(wt.want)) { // what is here stays usable
		wt.finish(r, err)
		return true
	}
	if pg.repeats(wt) {
		return false
	}
	pg.locate(wt)
	wt.held = pg.proto.Access()
	pg.waiters = append(pg.waiters, wt)
	w.uncounted, w.at = wt, time.Time{}
	if w.s.memory.admit(r, pg) {
		pg.proto.Fault(wt.want, &w.rd)
		w.perform(r, pg, noCause, nil)
	}
	if n := len(pg.waiters); n > 0 && pg.waiters[n-1] == wt {
		w.begin(pg)
	}
	w.uncounted = nil
	return true
}

// message brings a message of another node to its page, or returns false if the page has yet to be told
// of the view that the sender has. body holds the page's bytes if there are any.
func (w *work) message(r *region, m coherence.Message, body []byte) bool {
	pg := r.lockLive(m.Page.Index())
	defer pg.mu.Unlock()
	switch {
	case pg.closed:
	case m.Epoch > pg.proto.Epoch():
		return false
	case w.s.leaving.Load() && m.Kind.Opens():
		// Seen with the page locked: what came before is seen by vacate.
	default:
		w.step(pg, m)
		w.perform(r, pg, m, body)
	}
	return true
}

// step brings a message to a page's state.
func (w *work) step(pg *page, m coherence.Message) {
	if m.Kind == coherence.Request {
		pg.traffic.request(pg.proto.Busy())
	}
	pg.proto.Step(m, &w.rd)
}

// unpin ends a pin. The caller holds pg.mu.
func (w *work) unpin(r *region, pg *page, a pagetable.Access) {
	cause := pg.proto.Deferred()
	pg.proto.Unpin(a, &w.rd)
	w.perform(r, pg, cause, nil)
}

// newEpoch tells a page of a view in which nodes are gone.
func (w *work) newEpoch(r *region, pg *page, v coherence.View) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if !pg.live || pg.closed || pg.proto.Epoch() >= v.Epoch {
		return
	}
	home := v.Home(*r.meta.Load(), pg.proto.ID().Index())
	w.s.memory.evicted(pg) // or the wish is forgotten now
	pg.proto.NewEpoch(v, home, &w.rd)
	w.perform(r, pg, noCause, nil)
}

// perform does what w.rd asks for, and then what the node has to tell itself.
func (w *work) perform(r *region, pg *page, cause coherence.Message, body []byte) {
	w.effects(r, pg, cause, body)
	for i := 0; i < len(w.local); i++ {
		m := w.local[i]
		w.step(pg, m)
		w.effects(r, pg, m, nil)
	}
	w.local = w.local[:0]
	if pg.lease.access != pagetable.NoAccess && pg.proto.Delayed() {
		w.endLease(r, pg)
	}
}

// effects performs one Ready in the order that coherence/doc.go numbers.
func (w *work) effects(r *region, pg *page, cause coherence.Message, body []byte) {
	rd := &w.rd
	frame := r.frame(pg.proto.ID().Index())
	came := arrival{rd.Woken, cause.From, txnOf(&cause), uint32(len(body))}
	w.install(r, pg, frame, cause, body)
	switch {
	case rd.Before != rd.After:
		frame = w.protect(r, pg, frame, &cause)
	case rd.Woken != pagetable.NoAccess && r.mapped:
		r.setRight(pg, pagetable.NoAccess, rd.After) // of a program that has come later than the page
	}
	if r.release {
		body = w.update(pg, frame, body)
	}
	for i := range rd.Send {
		w.send(pg, &rd.Send[i], frame, body)
	}
	if r.release {
		w.noteChanges(pg, frame, cause)
		w.flushed(pg)
	}
	if rd.Woken != pagetable.NoAccess {
		pg.wake(r, frame, came)
	}
	if rd.Lost {
		pg.fail(r, fmt.Errorf("page %d of region %q: %w: its home or its last copy went down with a node",
			pg.proto.ID().Index(), r.name(), ErrNodeLost))
	}
	w.noteDelay(r, pg)
	pg.noteVacant()
}

func (w *work) install(r *region, pg *page, frame []byte, cause coherence.Message, body []byte) {
	if r.release {
		w.installChanged(pg, frame, cause, body)
	} else {
		pg.install(w.rd.Install, frame, cause, body)
	}
	w.at = time.Time{}
	w.arrived(pg, &cause, len(body))
}

// install puts what a grant carries into the frame. Bytes of the node itself are there already.
func (pg *page) install(c coherence.Content, frame []byte, cause coherence.Message, body []byte) {
	switch {
	case c == coherence.Zeros && pg.used:
		clear(frame)
		pg.used = false
	case c == coherence.Bytes && body != nil:
		copy(frame, body)
		pg.used = true
		pg.traffic.received(cause, len(body))
	}
}

// protect follows a change of the node's right and returns where the page's bytes are afterwards. In
// explicit access there is no protection to change: the right itself is what every access checks.
func (w *work) protect(r *region, pg *page, frame []byte, cause *coherence.Message) []byte {
	rd := &w.rd
	if rd.Before == pagetable.NoAccess {
		w.s.memory.occupy(r, pg)
	}
	if rd.After == pagetable.WriteAccess {
		if r.mapped && !r.release {
			pg.traffic.shared(frame, pg.used)
		}
		pg.used = true
	}
	r.setRight(pg, rd.Before, rd.After)
	pg.traffic.right(rd.Before, rd.After, w, !pg.evicting && !w.s.leaving.Load())
	if rd.Before == pagetable.WriteAccess && pg.changes.twin == nil {
		pg.traffic.writeLost(frame)
	}
	w.lost(r, pg, cause)
	if rd.After != pagetable.NoAccess {
		return frame
	}
	if !w.s.leaving.Load() {
		pg.traffic.Invalidations++
	}
	if r.mapped || pg.evicting {
		w.putAside(pg, frame)
		frame = w.takeAway(r, pg, frame)
	}
	w.s.memory.evicted(pg)
	return frame
}

// takeAway gives the frame back, which ends its use by programs, and saves the bytes that are still to be sent.
func (w *work) takeAway(r *region, pg *page, frame []byte) []byte {
	for i := range w.rd.Send {
		if w.rd.Send[i].Content == coherence.Bytes {
			w.spare = append(w.spare[:0], frame...)
			frame = w.spare
			break
		}
	}
	r.dropFrame(pg)
	return frame
}

// dropFrame gives a page's memory back.
func (r *region) dropFrame(pg *page) {
	pg.used = false
	if err := r.mem.Release(pg.proto.ID().Index()<<r.shift, 1<<r.shift); err != nil {
		r.s.broken(err)
	}
	r.s.memory.vacate(r, pg)
}

// setRight changes what programs may do with the page.
func (r *region) setRight(pg *page, before, after pagetable.Access) {
	if err := r.mem.Protect(pg.proto.ID().Index()<<r.shift, 1<<r.shift, before, after); err != nil {
		r.s.broken(err)
	}
}

// send sends a message with what goes with it, which is update if it is an Update.
func (w *work) send(pg *page, m *coherence.Message, frame, update []byte) {
	if m.Kind == coherence.Request {
		m.Site = pg.blame.asking
	}
	if m.To == w.s.self {
		w.local = append(w.local, *m)
		return
	}
	w.begin(pg)
	var body []byte
	switch {
	case m.Content == coherence.Bytes:
		body = w.content(pg, frame)
	case m.Kind == coherence.Update:
		body = update
	case m.Content == coherence.Diff:
		body = w.diff(pg, m.Txn, frame)
	}
	pg.traffic.BytesOut += uint64(len(body))
	if recording {
		w.sent(pg, m, len(body))
	}
	// A peer that can't be reached is about to be declared lost; the new epoch settles its pages.
	_ = w.out.Send(m.To, w.encode(pg, m), body)
}

// encode returns the header of a message.
func (w *work) encode(pg *page, m *coherence.Message) []byte {
	if m.Kind == coherence.Flush && w.s.races.on && !w.rd.RepeatDiff {
		return w.codec.EncodeStamped(classStamped, *m, w.s.races.stamp(pg, m.Txn))
	}
	return w.codec.Encode(classPage, *m)
}

// noteDelay has the watch told when a pin begins to keep another node waiting.
func (w *work) noteDelay(r *region, pg *page) {
	switch {
	case !pg.proto.Delayed():
		if !pg.delayedAt.IsZero() {
			w.delayed(pg)
		}
		pg.delayedAt = time.Time{}
	case pg.delayedAt.IsZero() && len(pg.pins) > 0:
		pg.delayedAt, pg.delayedBy = time.Now(), w.s.sites.resolve(pg.pins[0].site)
		w.s.delays.add(r, pg)
	}
}

// noteVacant tells a node that leaves when it is done with the page.
func (pg *page) noteVacant() {
	if pg.vacant == nil || !pg.proto.Vacated() {
		return
	}
	select {
	case <-pg.vacant:
	default:
		close(pg.vacant)
	}
}
