package coherence

import "pagemesh/pagetable"

// following is how a node comes to have the changes of a page before it asks: it follows the page's home, which
// sends it every change of others as an Update. Then a notice finds a copy that has what it names.
//
// Changes come in the order of their numbers: the home sends Updates and FlushAcks the way it numbers them, and
// messages between two nodes stay in order. So a copy never lacks one in the middle, nothing has to be kept of
// old diffs, and an Update that is late is of no use: its page is fetched.
//
// A node that doesn't use what it gets stops following, see Page.Used. That accesses can't be seen is no
// obstacle: then it stops after some time, longer each time, and who uses the page pays for one fetch.
//
// Invariant: a node that follows, and is asked for nothing, has asked the home that it has now.
type following struct {
	on bool
	// patience is how many acquires in a row may find changes that came as Updates while nobody uses the page.
	patience, idle uint8
	// news are the Updates since the last notice.
	news uint8
	// missed are the notices since the copy was lost.
	missed uint8
}

const (
	firstPatience = 2
	maxPatience   = 64
	// maxNews is how many Updates a node takes between two acquires.
	maxNews = 64
)

// Used says that somebody at this node has accessed the page. The caller may leave it out, or say it less often than
// it happens.
func (p *Page) Used() { p.release.following.idle = 0 }

// ask decides whether the copy that is fetched now is to be kept up to date: unless the page was not missed for
// longer than one notice.
func (f *following) ask() bool {
	switch {
	case f.patience == 0:
		f.patience = firstPatience
	case f.missed <= 1 && !f.on:
		f.patience = min(2*f.patience, maxPatience)
	case f.missed > 1:
		f.patience = firstPatience
	}
	f.on = f.missed <= 1
	f.idle, f.news, f.missed = 0, 0, 0
	return f.on
}

// miss counts a notice of a change that this node does not have.
func (f *following) miss() { f.missed = min(f.missed+1, 2) }

// noticed counts a notice of changes that came as Updates, and reports whether it was one too many.
func (f *following) noticed() bool {
	if f.news == 0 {
		return false
	}
	f.news = 0
	f.idle++
	return f.idle > f.patience
}

// update takes a change that the home tells of.
func (p *Page) update(m Message, rd *Ready) {
	c, r := &p.copy, p.release
	switch {
	case c.pending != pagetable.NoAccess:
		return // it comes before a Grant that has it
	case c.access == pagetable.NoAccess:
		p.unfollow(rd)
		return
	case m.Version != r.version+1:
		return
	}
	rd.Install, r.version = Diff, m.Version
	if r.following.news++; r.following.news == maxNews {
		p.unfollow(rd)
	}
}

func (p *Page) unfollow(rd *Ready) {
	if f := &p.release.following; f.on {
		f.on = false
		p.send(Message{Kind: Unfollow, To: p.home}, rd)
	}
}

// tellFollowers sends the change that was numbered last to all who follow, except the one that made it.
func (p *Page) tellFollowers(by pagetable.NodeID, rd *Ready) {
	r := p.release
	for n := range r.followers.All() {
		if n != by {
			p.send(Message{Kind: Update, To: n, Content: Diff, Version: r.version}, rd)
		}
	}
}
