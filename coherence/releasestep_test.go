package coherence

import (
	"fmt"
	"slices"

	"pagemesh/pagetable"
)

// revent is one thing that can happen: a thread takes its next step, or the first packet of a link arrives.
type revent struct {
	thread   int // -1: none
	from, to pagetable.NodeID
	change   rchange // of the node to
}

func (e revent) String() string {
	switch {
	case e.change != noChange:
		return fmt.Sprintf("%v %v", e.to, e.change)
	case e.thread < 0:
		return fmt.Sprintf("%v→%v", e.from, e.to)
	}
	return fmt.Sprintf("thread %d", e.thread)
}

// enabled implements model.
func (c *rcluster) enabled(es []revent) []revent {
	for i, t := range c.threads {
		if t.state == ready && t.next < len(t.program) {
			es = append(es, revent{thread: i})
		}
	}
	for _, l := range c.links {
		if l.packets[0].Epoch <= c.views[c.node(l.to).view].epoch { // else it is held
			es = append(es, revent{thread: -1, from: l.from, to: l.to})
		}
	}
	return c.enabledChanges(es)
}

// do implements model.
func (c *rcluster) do(e revent) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	switch {
	case e.change != noChange:
		c.note("%v", e)
		err = c.change(e)
	case e.thread >= 0:
		t := &c.threads[e.thread]
		c.note("thread %d at %v: %v", e.thread, t.node, t.program[t.next])
		err = c.step(e.thread)
	default:
		err = c.deliver(c.take(e.from, e.to))
	}
	if err != nil {
		return err
	}
	return c.check()
}

// check runs the invariants after each event.
func (c *rcluster) check() error {
	for i := range c.places {
		if err := c.places[i].page.check(); err != nil {
			return fmt.Errorf("%w: %v", err, &c.places[i].page)
		}
	}
	return c.settle()
}

// settle goes on with threads that wait for acknowledgements, which may let others go on.
func (c *rcluster) settle() error {
	for i := 0; i < len(c.threads); i++ {
		t := &c.threads[i]
		if t.state != releasing && t.state != settling || !c.node(t.node).intervals.Settled(t.interval) {
			continue
		}
		if t.state == releasing {
			if err := c.released(i); err != nil {
				return err
			}
		}
		if t.state == settling {
			t.state = ready
			t.next++
		}
		i = -1
	}
	return nil
}

// step takes a thread's next step.
func (c *rcluster) step(i int) error {
	t := &c.threads[i]
	op := t.program[t.next]
	pl := c.place(t.node, op.page)
	switch op.kind {
	case rread, rwrite, rpin:
		t.state = faulting
		pl.page.Fault(op.access(), &c.rd)
		return c.effects(pl, nil)
	case rpoke:
		if pl.page.release.lost {
			break // what a view shows of a lost page is nobody's
		}
		pl.frame[op.word] = c.write(i, op)
	case runpin:
		if pl.page.copy.writers == 0 {
			break // the page was lost before it was pinned
		}
		pl.page.Unpin(pagetable.WriteAccess, &c.rd)
		t.next++
		return c.effects(pl, nil)
	case revict:
		if !pl.page.Evict(&c.rd) {
			pl.page.Yield()
			pl.yields = true
		}
		t.next++
		return c.effects(pl, nil)
	case rlockOp:
		return c.lock(i, op.word)
	case runlock:
		if op.word == ownLock {
			return c.released(i)
		}
		return c.release(i)
	case rbarrier:
		return c.release(i)
	}
	t.next++
	return nil
}

func (o rop) access() pagetable.Access {
	if o.kind == rread {
		return pagetable.ReadAccess
	}
	return pagetable.WriteAccess
}

// serve makes the one access of a thread that has faulted.
func (c *rcluster) serve(i int, pl *rplace) error {
	t := &c.threads[i]
	op := t.program[t.next]
	t.state = ready
	t.next++
	if t.node%2 == 1 { // the accesses of the others can't be seen
		pl.page.Used()
	}
	switch op.kind {
	case rpin:
		if !pl.page.Pin(pagetable.WriteAccess) {
			return fmt.Errorf("%v was woken and can't pin", &pl.page)
		}
	case rwrite:
		pl.frame[op.word] = c.write(i, op)
	case rread:
		want := c.history.read(i, op.page*pageWords+op.word)
		if got := pl.frame[op.word]; got != want && c.history.racy == "" {
			return fmt.Errorf("thread %d at %v reads word %d of page %d: write %d, want %d", i, t.node, op.word, op.page, got, want)
		}
	}
	return nil
}

// write makes a thread's write and returns its number.
func (c *rcluster) write(i int, op rop) uint16 {
	word := op.page*pageWords + op.word
	if c.watched != nil {
		c.watched.nodal.write(int(c.threads[i].node)-1, word)
	}
	return c.history.write(i, word)
}

// flush ends an interval for a page. One that was kept for it, and in which nothing is new, must not be heard of, and
// is not kept for ever.
func (c *rcluster) flush(pl *rplace, number uint32) error {
	p := &pl.page
	kept, again := p.Kept(number)
	if again {
		c.node(p.self).intervals.Wrote(p.id)
		pl.began = number + 1
	}
	differs := !pl.twinned || pl.frame != pl.twin
	if !kept || differs {
		pl.wrote = number
	}
	p.Flush(number, differs, &c.rd)
	stays := p.release.kept && p.copy.writers == 0
	switch {
	case kept && !differs && len(c.rd.Send) > 0:
		return fmt.Errorf("%v is not written, and sends", p)
	case stays && (number-pl.wrote >= maxGap || pl.yields):
		return fmt.Errorf("%v is kept, was written in the interval %d, and is to be given up: %t", p, pl.wrote, pl.yields)
	case again && (c.rd.Wrote || !p.release.kept):
		return fmt.Errorf("%v is in the next interval twice, or for nothing", p)
	case kept && !differs && !p.release.kept:
		c.census.unkept++
	case kept && !differs:
		c.census.unwritten++
	case stays && p.Homed():
		c.census.homeKept++
	case stays:
		c.census.stayed++
	}
	pl.yields = false
	return c.effects(pl, nil)
}

func (c *rcluster) deliver(p rpacket) error {
	c.note("%v", p)
	if p.sync == noSync {
		c.census.kinds[p.Kind]++
		if c.node(p.To).leaving && p.Kind.Opens() {
			return nil
		}
		return c.message(c.place(p.To, int(p.Page.Index())), p)
	}
	switch {
	case p.sync == askLeaver && c.node(p.From).stage == parting:
		c.node(p.From).heard.Add(p.To) // and what was sent before has come
		return nil
	case p.sync == askLeaver:
		c.node(p.To).shuns = p.From
		c.post(rpacket{Message: Message{From: p.To, To: p.From, Epoch: p.Epoch}, sync: answerLeaver})
		return nil
	case p.sync == answerLeaver:
		c.node(p.To).heard.Add(p.From)
		return nil
	case p.Epoch < c.views[c.node(p.To).view].epoch:
		c.refuse([]rpacket{p})
		return nil
	}
	c.node(p.To).notices.Learn(p.From, p.notices)
	c.learnTime(p)
	if p.sync == arriveBarrier {
		return c.arrive(p.thread)
	}
	return c.acquired(p.thread)
}

func (c *rcluster) message(pl *rplace, p rpacket) error {
	pending, version := pl.page.copy.pending, pl.page.release.version
	pl.page.Step(p.Message, &c.rd)
	switch {
	case p.Kind == Grant && pending != pagetable.NoAccess && c.rd.Install == NoContent:
		c.census.refetched++
	case p.Kind == Grant && pl.page.release.twin && !c.rd.KeepTwin:
		c.census.merged++
	case p.Kind == FlushAck && pl.page.release.version > version:
		c.census.kept++
	case p.Kind == Update && c.rd.Install == Diff:
		c.census.updated++
	case p.Kind == Update:
		c.census.late++
	}
	return c.effects(pl, &p)
}

// effects performs a Ready in the order that doc.go numbers.
func (c *rcluster) effects(pl *rplace, cause *rpacket) error {
	rd := &c.rd
	if err := c.install(pl, cause); err != nil {
		return err
	}
	if rd.KeepTwin {
		pl.twin, pl.twinned = pl.frame, true
	}
	if len(rd.Flushed) > 0 {
		if err := c.own(pl); err != nil {
			return err
		}
	}
	var update *rdiff
	if rd.Install == Diff {
		update = &cause.diff
	}
	for _, m := range rd.Send {
		if m.Kind != Update {
			c.send(pl, m)
			continue
		}
		if update == nil {
			d := pl.takeDiff()
			update = &d
		}
		c.post(rpacket{Message: m, diff: *update})
	}
	if pl.page.copy.writers > 0 && len(rd.Send) > 0 && rd.Send[0].Kind == Flush {
		c.census.repinned++
	}
	if rd.DropTwin {
		pl.twin, pl.twinned = words{}, false
	}
	if n := c.node(pl.page.self); rd.Took > 0 {
		n.notices.Took(cause.From, pl.page.id, rd.Took)
	}
	c.ended(pl)
	for i := range c.threads {
		t := &c.threads[i]
		if t.state != faulting || t.node != pl.page.self {
			continue
		}
		if op := t.program[t.next]; c.place(t.node, op.page) == pl && rd.Woken.Allows(op.access()) {
			if err := c.serve(i, pl); err != nil {
				return err
			}
		}
	}
	if rd.Lost {
		return c.fail(pl)
	}
	return nil
}

// ended tells a node what a Ready says about its intervals.
func (c *rcluster) ended(pl *rplace) {
	id, n, rd := pl.page.id, c.node(pl.page.self), &c.rd
	if rd.Wrote {
		pl.began = n.intervals.Open()
		n.intervals.Wrote(id)
	}
	for _, f := range rd.Flushed {
		pl.kept = slices.DeleteFunc(pl.kept, func(k keptDiff) bool { return k.interval == f.Interval })
		n.notices.Wrote(id, f)
		n.intervals.Flushed(pl.page.self, f)
	}
	if len(rd.Flushed) > 0 {
		c.postHeld(pl.page.self)
	}
}

func (c *rcluster) install(pl *rplace, cause *rpacket) error {
	var fresh words
	switch c.rd.Install {
	case NoContent:
		return nil
	case Diff:
		return c.merge(pl, cause)
	case Bytes:
		if cause == nil || cause.Content != Bytes {
			return fmt.Errorf("%v installs bytes that did not come", &pl.page)
		}
		fresh = cause.words
	}
	for _, k := range pl.kept {
		k.diff.apply(&fresh)
	}
	if !pl.twinned {
		pl.frame = fresh
		return nil
	}
	for i := range pl.frame { // see Merge
		changed := pl.frame[i] ^ pl.twin[i]
		pl.frame[i] = pl.frame[i]&changed | fresh[i]&^changed
		pl.twin[i] = fresh[i]
	}
	return nil
}

// merge installs the diff of another node.
func (c *rcluster) merge(pl *rplace, cause *rpacket) error {
	if err := c.own(pl); err != nil {
		return err
	}
	cause.diff.apply(&pl.frame)
	cause.diff.apply(&pl.twin)
	return c.met(pl, cause)
}

func (c *rcluster) send(pl *rplace, m Message) {
	p := rpacket{Message: m}
	switch m.Content {
	case Bytes:
		if p.words = pl.frame; pl.twinned {
			p.words = pl.twin
		}
	case Diff:
		if c.rd.RepeatDiff {
			i := slices.IndexFunc(pl.kept, func(k keptDiff) bool { return k.interval == m.Txn })
			p.diff = pl.kept[i].diff
			break
		}
		p.diff = pl.takeDiff()
		if c.watched != nil {
			p.stamp = c.stamp(pl, m.Txn)
		}
		pl.kept = append(pl.kept, keptDiff{m.Txn, p.diff})
		c.node(m.From).intervals.Sent(m.Txn, m.To)
	}
	c.post(p)
}

// atRest implements model.
func (c *rcluster) atRest() error {
	for i, t := range c.threads {
		if t.next < len(t.program) {
			return fmt.Errorf("thread %d at %v waits for ever, in %v", i, t.node, t.program[t.next])
		}
	}
	for i := range c.places {
		pl := &c.places[i]
		if c.node(pl.page.self).status != running {
			continue
		}
		if r := pl.page.release; len(r.flights) > 0 || len(pl.kept) > 0 {
			return fmt.Errorf("%v is at rest with %d diffs", &pl.page, len(pl.kept))
		}
	}
	if c.history.racy != "" {
		c.census.races++
	}
	return c.complete()
}
