package coherence

import (
	"errors"

	"pagemesh/pagetable"
)

// check returns which invariant of the page's state does not hold, nil if all do. It looks at this
// node's state alone, so it costs little enough to run after each step; the build tag invariants does
// that outside of tests.
func (p *Page) check() error {
	if p.release != nil {
		return p.checkRelease()
	}
	if err := p.copy.check(); err != nil {
		return err
	}
	if p.dir == nil {
		return nil
	}
	return p.dir.check()
}

func (c *copyState) check() error {
	switch {
	case c.pending != pagetable.NoAccess && c.access.Allows(c.pending):
		return errors.New("pending is not above access")
	case c.want != pagetable.NoAccess && c.want <= c.pending:
		return errors.New("want is not above pending")
	case c.readers < 0 || c.writers < 0:
		return errors.New("more pins ended than began")
	case c.readers > 0 && c.access == pagetable.NoAccess || c.writers > 0 && c.access != pagetable.WriteAccess:
		return errors.New("a pin has no right")
	case c.delayed && !c.blocks(c.deferred):
		return errors.New("a message is deferred without a pin in its way")
	case !c.delayed && c.deferred != Message{}:
		return errors.New("a message is kept that is not deferred")
	case c.zero && c.access == pagetable.WriteAccess:
		return errors.New("a page that may be written is taken for zeros")
	}
	return nil
}

func (p *Page) checkRelease() error {
	c, r := &p.copy, p.release
	switch {
	case c.readers < 0 || c.writers < 0:
		return errors.New("more pins ended than began")
	case c.delayed:
		return errors.New("a message waits for a pin")
	case r.homed && (len(r.flights) > 0 || c.pending != pagetable.NoAccess || r.following.on):
		return errors.New("a home asks for the page, or flushes it")
	case r.homed && (r.twin && !r.noted || r.noted && !r.twin && !r.followers.Empty()):
		return errors.New("a home has a twin and writes nothing that others follow, or the other way round")
	case !r.followers.Empty() && (!r.homed || c.access == pagetable.WriteAccess && !r.noted):
		return errors.New("a page has followers who are not told what is written to it")
	case !r.homed && (c.access == pagetable.WriteAccess) != (r.twin && c.access != pagetable.NoAccess):
		return errors.New("a copy that may be written has no twin, or the other way round")
	case c.access != pagetable.NoAccess && (c.pending != pagetable.NoAccess || r.version < r.needed):
		return errors.New("a copy that may be read is too old, or asked for")
	case r.kept && (!r.twin || r.watched):
		return errors.New("a page is kept and has no twin that tells what was written")
	case r.homed && r.watched && !r.noted && c.access == pagetable.WriteAccess:
		return errors.New("a home that is watched writes unnoticed")
	case r.noted && c.access != pagetable.WriteAccess:
		return errors.New("a home that may not write is to end an interval")
	}
	return nil
}

func (d *directory) check() error {
	switch d.state {
	case shared:
		if !d.copies.Has(d.owner) {
			return errors.New("the owner of a shared page has no copy")
		}
	case exclusive:
		if d.copies.Len() != 1 || !d.copies.Has(d.owner) {
			return errors.New("an exclusive page is not held by its owner alone")
		}
	default:
		if !d.copies.Empty() {
			return errors.New("a page that nobody holds has copies")
		}
	}
	t := &d.txn
	switch {
	case t.phase == idle && len(d.queue) > 0:
		return errors.New("a request waits for no transaction")
	case t.phase == invalidating && t.waiting.Empty():
		return errors.New("waiting for acknowledgements that all have come")
	case t.phase >= forwarding && t.supplier == 0:
		return errors.New("forwarding without a supplier")
	}
	return nil
}
