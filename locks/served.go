package locks

// enter prepares for an event about a lock that its home serves. It returns nil, and has woken w, if the node
// is leaving.
func (m *Machine) enter(w Waiter, r *Ready) *servedNode {
	m.begin(r)
	if m.node.leaving {
		r.wake(w, 0, Leaving)
		return nil
	}
	return &m.node.served
}

// Add adds delta to a counter. The waiter is woken with the value that the counter then has, with Lost if the
// counter is broken, with Leaving if the node is. What was written before must be on its way before the Ready
// is performed. Preconditions: CheckName(lock.Name) == nil, and so for the other methods.
func (m *Machine) Add(lock Served, delta int64, w Waiter, r *Ready) {
	if n := m.enter(w, r); n != nil {
		n.counter(lock, &m.view).add(adder{w, delta}, r)
		m.finish(r)
	}
}

// Watch waits until a counter is from low to high. The waiter is woken with the value that it then has. One
// that it has only for a moment may be missed.
func (m *Machine) Watch(lock Served, low, high int64, w Waiter, r *Ready) {
	if n := m.enter(w, r); n != nil {
		n.counter(lock, &m.view).watch(watcher{w, low, high}, r)
		m.finish(r)
	}
}

// Campaign stands for election. The waiter is woken with a token when it leads, with Over when a leader has
// ended the election, with Leaving if the node is.
func (m *Machine) Campaign(lock Served, w Waiter, r *Ready) {
	if n := m.enter(w, r); n != nil {
		n.election(lock, &m.view).campaign(w, r)
		m.finish(r)
	}
}

// Resign ends w's leadership and reports whether w led; if not, nothing changes. If why is Over, nobody will lead
// any more. What was written before must be on its way before the Ready is performed.
func (m *Machine) Resign(lock Served, w Waiter, why Reason, r *Ready) bool {
	m.begin(r)
	e := m.node.served.elections[lock.ID()]
	if e == nil || !e.resign(w, why, r) {
		return false
	}
	m.finish(r)
	return true
}

// Observe waits until the leader is not the one with the token known, or until somebody leads if that is 0. The
// waiter is woken with the leader's node and token, 0 if nobody leads, or with Leaving if the node is.
func (m *Machine) Observe(lock Served, known Token, w Waiter, r *Ready) {
	if n := m.enter(w, r); n != nil {
		n.election(lock, &m.view).observe(observer{w, known}, r)
		m.finish(r)
	}
}

// CancelServed ends what Add, Watch, Campaign, Observe or Enlist began. True: w is forgotten, and no Woken comes for it.
// False: its Woken is out already; or it adds, which counts, and its Woken comes as usual.
func (m *Machine) CancelServed(lock Served, w Waiter, r *Ready) bool {
	m.begin(r)
	canceled := m.node.served.cancel(lock, w, r)
	m.finish(r)
	return canceled
}

// Enlist begins a wait for a signal. First enlisting is woken, when the home knows of the wait, so that every signal
// of whoever comes to know of it later counts; then w, by a signal, by a new epoch, or for no reason. If the node is
// leaving, enlisting is woken with Leaving, and w never. CancelServed of one of them ends both.
func (m *Machine) Enlist(lock Served, enlisting, w Waiter, r *Ready) {
	if n := m.enter(enlisting, r); n != nil {
		n.cond(lock, &m.view).enlist(listener{enlisting, w}, r)
		m.finish(r)
	}
}

// Signal wakes one who waits for the condition, if there is one, or all of them. What was written before must be on
// its way before the Ready is performed.
func (m *Machine) Signal(lock Served, all bool, r *Ready) {
	kind := Signal
	if all {
		kind = Broadcast
	}
	m.begin(r)
	m.node.served.cond(lock, &m.view).signal(kind, r)
	m.finish(r)
}
