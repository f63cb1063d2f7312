// Package locks is the protocol of the locks of a space, without the machinery: what each node keeps, what it says
// to others, and when a waiter goes on. There are mutexes, barriers, pools, which are semaphores and read/write
// mutexes, and what homes serve: counters, elections and conditions.
//
// A mutex behaves as if it were one sync.Mutex shared by all goroutines of all nodes, whose Lock can
// be canceled and which outlives the nodes that use it. A barrier behaves as if every wait of all
// nodes were an arrival at one counter that lets all go when the last party has arrived, and then
// starts anew. A pool behaves as if one counter held the permits that nobody has taken, and served one queue
// of all who wait, first come, first served.
//
// # The machine
//
// A [Machine] is a function of events. It has no goroutine, mutex, clock, socket or randomness, and
// the same events cause the same work. Events are its methods; the work is appended to a [Ready].
//
// # The order of effects
//
// The caller guards a Machine with one mutex and, for each event:
//
//  1. For Unlock, Put and Wait, first sends what was written under the lock or before the barrier:
//     whoever goes on because of the Ready may read it.
//  2. Calls the method.
//  3. Queues Ready.Send in order, before another event is stepped, because messages between two nodes
//     must arrive in the order in which the machine made them. Messages of a node to itself are not
//     among them: the machine has stepped them already.
//  4. Wakes Ready.Wake.
//
// # Messages
//
// Between two nodes messages arrive in order and at most once. Every message carries the epoch of its
// sender. Step drops those of earlier epochs and counts them ([Machine.Refused]). The caller holds
// those of later epochs ([Machine.Epoch]), and what follows them from the same node, until NewEpoch. If
// a message between two members is lost, one of the two must be declared lost.
//
// # Mutex
//
// The home keeps the queue; the lock itself travels from node to node. This is the distributed queue
// of Naimi and Trehel (1987, "path reversal") with the tail kept at a fixed home, as MCS keeps it in
// a fixed word. Kinds of Message are in capitals:
//
//	node                              home                          tail of the queue
//	  │ ACQUIRE ───────────────────────▶ │                                  │
//	  │ ◀─────────────────────── GRANT   │ the queue was empty              │
//	  │                                  │ FORWARD ───────────────────────▶ │
//	  │ ◀──────────────────────────────────────────────────────── PASS      │ when it is unlocked
//	  │ GRANTED ───────────────────────▶ │ drops those before from its queue
//	  │ TOLD ──────────────────────────▶ │ if the holder was told that one died
//
// Cost, in messages one after the other: none if the lock is cached here, one for a handover to a
// waiting node (Pass), two if it is free, three if it is cached elsewhere. Granted is off that path.
//
// A mutex at a node that uses it:
//
//	          lock: ACQUIRE               GRANT or PASS
//	absent ─────────────────▶ requesting ────────────────▶ held ◀──────┐
//	  ▲                                    ▲  unlock, next │  │ unlock, │ lock
//	  │                                    │  waiter here  │  │ nobody  │
//	  │                                    └───────────────┘  ▼ waits   │
//	  │         FORWARD: PASS                               cached ─────┘
//	  ├────────────────────────────────────────────────────── ┘
//	  └── held, unlock after a FORWARD, when those who came before it are served: PASS
//
// Fairness: nodes get the mutex in the order in which their Acquires reach the home. At a node, waiters
// are served first come, first served. Those that came before the Forward are served before the
// mutex is passed on; those that came after it go through a new Acquire. So between the moment a node
// has its place in the queue and the moment the mutex comes, every node before it serves at most those
// of its waiters that came before the Forward did, and nobody starves. Cancel doesn't change this: a
// request whose waiters have all given up keeps its place and is passed on, or cached, when it comes up.
//
// [Token] says why fencing tokens grow.
//
// # Barrier
//
// Each wait is an arrival at the home. With the last of the parties, the home sends one Release to
// each node that has arrived. A node collects as many arrivals as it had in the phase before and sends them in one
// Arrive, so that in a steady pattern the home gets and sends one message a node and phase, whatever the number
// of parties. If a node has more arrivals than that, others have fewer: the home tells all to Hurry, and in this
// phase nobody collects any more. The number of parties is decided by the first to arrive; whoever has
// another one is refused with Mismatch. Canceling a wait takes the arrival back by Withdraw, answered by
// Withdrawn; if a Release crosses it, the wait has succeeded.
//
// A barrier is broken for good when a node that has ever arrived in it is lost, or its home is: whoever
// waits, and whoever arrives later, gets Lost. A node that leaves breaks nothing. (If the home was the
// only node that had arrived, nobody remembers the barrier and it starts anew.)
//
// # Pool
//
// A semaphore is a pool of permits. So is a read/write mutex: a reader takes one permit and a writer all
// of them ([Everything]), so that one who waits to write keeps later readers waiting.
//
//	node                              home                         node that has permits
//	  │ TAKE ──────────────────────────▶ │                                  │
//	  │ ◀──────────────────────── GIVE   │ enough is free                   │
//	  │                                  │ RECALL ────────────────────────▶ │
//	  │                                  │ ◀─────────────────────── PUTBACK │ what is not used, at once, and
//	  │ ◀──────────────────────── GIVE   │                                  │ the others when they are put
//
// A node caches permits that nobody uses any more, until a Recall. So a node that reads again and again, or
// writes again and again, sends nothing, and the reads of one node don't disturb those of another. A
// Recall is about all permits that the home has given to the node so far; those are owed. The home recalls
// when the first of its queue wants more than is free, from every node that has more than it was told of.
//
// Cost, in messages one after the other: none from the cache, two if enough is free, four if permits are
// elsewhere. That is one more than a mutex takes, because the permits of one Give may come from many nodes.
//
// Fairness: the home serves its queue in the order in which requests reach it, and gives nothing to others
// while the first waits. At a node, nobody is served from the cache while another of that node waits, and
// after a Recall nothing of what is owed is. Cancel takes a request out of the queue (Drop), so that who
// waits for much and gives up holds nobody up; if the Give has crossed it, its permits are cached.
//
// A pool's size is decided by the first to take. Whoever has another one is refused with Deny.
//
// # What homes serve
//
// The state of a counter, an election or a condition is at its home alone, and everything done with it is a message
// there and, mostly, one back.
//
//	node              home
//	  │ ADD ───────────▶ │  a batch of additions, with its number     counter
//	  │ ◀──────── ADDED  │  what the counter is with it
//	  │ WATCH ─────────▶ │  ◀─ REACHED, as soon as the value will do
//	  │ CAMPAIGN ──────▶ │  ◀─ ELECT, when it leads                    election
//	  │ RESIGN ────────▶ │
//	  │ OBSERVE ───────▶ │  ◀─ OBSERVED, when another leads
//	  │ ENLIST ────────▶ │  ◀─ ENLISTED, at once                       condition
//	  │ SIGNAL ────────▶ │  ◀─ NOTIFY to the first who listens
//
// A node has one batch of additions under way; what is added meanwhile makes the next one. The home keeps number and
// value of each node's last batch, and hands them over with the counter, so that a batch that a view cuts off
// counts once when it comes again. A counter is broken for good when its home is lost: what the home's own node and
// nodes that are gone have added is known to nobody else. (If nobody that remains has used it, it starts anew.)
//
// An election ends with a leader that says so (Over): that is how something is done once. Every node that has heard
// of the end reports it to later homes, so that it is forgotten only if the home and all these nodes are gone.
// A leader reports itself; those who stand or observe ask again, in a new order.
//
// A condition is forgotten in a new epoch, which wakes all who listen. Who listens in that epoch misses no signal of
// the one before, since the home answers only when all members have left it. A signal for one who has given up
// goes back to the home, for another.
//
// # Epochs
//
// A new view ([Machine.NewEpoch]) begins when a member has crashed or left, or a home moves. All members
// perform the same views in the same order.
//
//  1. A home hands the barriers that move to their new homes (Handover).
//  2. A node reports each mutex that it waits for or has, each barrier it has ever arrived in, the
//     permits that it has, counters that it has used, and elections that it leads or knows to be over, to the lock's
//     home in the new view, and ends with ReportsDone to every member. Then it repeats its Takes and what it has
//     asked of served locks.
//  3. A home grants and releases nothing until it has every ReportsDone; requests wait
//     ([Machine.Settled]). Then it rebuilds each queue: who has the mutex first, then those who wait, in
//     the order that it remembers, the others by node id. Of a pool it has given away what was reported.
//
// A mutex that was on its way between two nodes arrives nowhere: the sender no longer has it, and the
// receiver either took it before its report, or refuses it because of its epoch. So at most one node
// reports that it has the mutex, and the home grants it anew only if none does. Permits that were under way,
// or at a node that is lost, are reported by nobody and so are free. Takes have a new order, that in which they
// come to the home.
//
// A counter moves with its value (HandCounter). If the next view cuts that off, its new home can't know which
// additions are in the value, and may not even have heard of it: whoever handed it over reports it once more, and
// it is broken, as by the loss of a home.
//
// After the crash of a node its late messages are refused with its epoch; the node itself, if it is
// only cut off, must find out that it is no member any more. Until then its tokens are older than those
// of the new holder.
//
// # Death of an owner
//
// Whoever gets a mutex after one who died while it held it is woken with OwnerDied instead of OK, once for
// one death. That a holder alone died, its node knows ([Machine.Abandon]). If a node is lost, the home knows
// that it had the mutex, or may have had it: that it was cached there and not held, nobody can know, nor that
// it had been passed on by a message that is lost too. These count as deaths. So do mutexes that a lost home
// knew alone, at their first use at the new one.
//
// That a death is to be told belongs to the mutex: it goes along in Grant, Pass and Return and ends when a
// waiter is woken. If an epoch cuts such a message off, two know what became of it, and the later token is
// right:
//
//  1. The home keeps what it granted with, and what Granted, Told, Return or a report of the owner says.
//  2. A node where a holder was told, or that has sent the mutex on with a death untold, keeps that with the
//     token (death), and reports it as Gone in each epoch until the home grants it the mutex again.
//
// So if nobody reports to have the mutex, the home knows whether the next holder has to be told. When a home
// moves, HandoverMutex takes along what it knows. What it knew is gone if it was lost, or the HandoverMutex was
// cut off: then it counts as a death, if there was a loss at all (doubt).
//
// A node leaves in these steps: it waits until [Machine.Idle]; calls [Machine.Surrender]; asks for a view
// with itself in View.Left; performs that view like the others; sends what comes out; and goes. If views
// follow each other so fast that its Handover is cut off, the barriers concerned are broken.
//
// # Deadlocks
//
// A machine knows waits, not goroutines, and sees no deadlock. [Deadlocks] finds them in what the callers of all
// machines know together.
//
// # What this package does not do
//
// It bounds no waiting time and keeps no lock's memory on more than one node: counts shown in LockStatus start
// anew at a new home.
// The size of a pool of which nobody has a permit is forgotten with its home.
package locks
