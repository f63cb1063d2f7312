package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// rwatch looks for races in an rcluster as package dsm does, and knows by the order of happens-before what it must
// find: what is reported is a race of two threads, and what is a race of two nodes, each taken for one thread,
// is reported.
type rwatch struct {
	orders  []Order  // of each node
	shadows []Shadow // of page p, at node n: at (n-1)*pages+p
	nodal   history
	found   []bool // words of which a race was reported
}

// barrierLock stands for the barrier in an Order.
const barrierLock = ownLock + 1

// watch begins to look for races, before anything has happened.
func (c *rcluster) watch() {
	w := &rwatch{
		orders: make([]Order, len(c.nodes)), shadows: make([]Shadow, len(c.places)),
		nodal: history{words: make([]accesses, len(c.history.words))}, found: make([]bool, len(c.history.words)),
	}
	for i := range w.orders {
		w.orders[i].NewEpoch(pagetable.NodeID(i+1), 1)
		w.nodal.grow(i+1, len(c.locks))
	}
	for i := range c.places {
		c.places[i].page.Watch()
	}
	c.watched = w
}

func (w *rwatch) clone() *rwatch {
	d := &rwatch{
		orders: slices.Clone(w.orders), shadows: slices.Clone(w.shadows), nodal: w.nodal.clone(), found: slices.Clone(w.found),
	}
	for i, o := range d.orders {
		locks := map[uint64]VectorTime{}
		for id, t := range o.locks {
			locks[id] = slices.Clone(t)
		}
		d.orders[i].before, d.orders[i].locks = slices.Clone(o.before), locks
	}
	for i := range d.shadows {
		s := &d.shadows[i]
		s.words, s.kept, s.free = slices.Clone(s.words), slices.Clone(s.kept), slices.Clone(s.free)
	}
	return d
}

// fingerprint writes of a shadow who wrote what, wherever it is kept.
func (w *rwatch) fingerprint(b []byte) []byte {
	for _, o := range w.orders {
		b = fmt.Append(b, o.epoch, o.before, o.locks)
	}
	for _, s := range w.shadows {
		b = fmt.Append(b, s.epoch)
		for _, t := range s.words {
			b = fmt.Append(b, s.kept[t.stamp].Stamp, t.bytes)
		}
	}
	return fmt.Append(w.nodal.fingerprint(b), w.found)
}

// stamp returns that of a diff that is taken now.
func (c *rcluster) stamp(pl *rplace, interval uint32) Stamp {
	o := &c.watched.orders[pl.page.self-1]
	return Stamp{Moment: Moment{pl.page.self, interval}, Epoch: o.Epoch(), Before: o.Before()}
}

// compare takes a diff to the shadow of a page at its home.
func (c *rcluster) compare(pl *rplace, st Stamp, d rdiff) error {
	page := int(pl.page.id.Index())
	s := &c.watched.shadows[(int(pl.page.self)-1)*c.pages+page]
	for _, f := range s.Write(st, d.encode(), skipSize, nil) {
		word := page*pageWords + f.Offset/wordSize
		if !c.history.words[word].raced {
			return fmt.Errorf("a race of %v and %v is reported at word %d of page %d, and there is none",
				st.Moment, f.Other.Moment, f.Offset/wordSize, page)
		}
		c.note("race of %v and %v at word %d of page %d", st.Moment, f.Other.Moment, f.Offset/wordSize, page)
		c.watched.found[word] = true
		c.census.reported++
	}
	return nil
}

// encode returns the diff as TakeDiff would.
func (d rdiff) encode() []byte {
	var e diffEncoder
	for i, differs := range d.differs {
		if differs != 0 {
			e.word(i, uint64(d.words[i]), 0xff)
		}
	}
	e.end()
	return e.out
}

// takeDiff returns how a frame differs from its twin, and makes them alike.
func (pl *rplace) takeDiff() (d rdiff) {
	for i := range pl.frame {
		d.differs[i] = pl.frame[i] ^ pl.twin[i]
	}
	d.words, pl.twin = pl.frame, pl.frame
	return d
}

// own takes what the home of a page has written itself to its shadow.
func (c *rcluster) own(pl *rplace) error {
	if c.watched == nil || !pl.page.Homed() || !pl.twinned {
		return nil
	}
	return c.compare(pl, c.stamp(pl, pl.began), pl.takeDiff())
}

// met takes a diff of another node that has come to its home to the shadow. One that is repeated is too old to be
// of use.
func (c *rcluster) met(pl *rplace, cause *rpacket) error {
	if c.watched == nil || cause.stamp.Node == 0 {
		return nil
	}
	return c.compare(pl, cause.stamp, cause.diff)
}

// meets ends the interval of a node that is about to learn of the order of others.
func (c *rcluster) meets(n pagetable.NodeID, lock uint64) error {
	if c.watched == nil {
		return nil
	}
	o := &c.watched.orders[n-1]
	if o.News(lock) {
		if _, err := c.closeInterval(n); err != nil {
			return err
		}
	}
	o.Acquired(lock)
	return nil
}

// leavesTime takes up that a node releases a lock.
func (c *rcluster) leavesTime(n pagetable.NodeID, lock uint64) {
	if c.watched != nil {
		c.watched.orders[n-1].Released(lock, c.node(n).intervals.Closed())
	}
}

// timeOf returns what travels with a lock.
func (c *rcluster) timeOf(n pagetable.NodeID, lock uint64) VectorTime {
	if c.watched == nil {
		return nil
	}
	return slices.Clone(c.watched.orders[n-1].Tell(lock))
}

func (c *rcluster) learnTime(p rpacket) {
	if c.watched == nil {
		return
	}
	if o := &c.watched.orders[p.To-1]; p.Epoch == o.Epoch() {
		o.Learn(p.lock, p.time)
	}
}

// complete returns a race that had to be reported and was not. Those that an epoch's end hides are excused.
func (c *rcluster) complete() error {
	if c.watched == nil || len(c.views) > 1 {
		return nil
	}
	for word, w := range c.watched.nodal.words {
		if w.raced && !c.watched.found[word] {
			return fmt.Errorf("a race at word %d of page %d is not reported", word%pageWords, word/pageWords)
		}
	}
	return nil
}
