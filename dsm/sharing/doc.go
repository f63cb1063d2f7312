// Package sharing says how nodes share a page, and how sure that is, from what they have counted on it.
//
// It is a function of counters and of the words that were written: same counts, same verdict. The classes are
// those of Munin (Carter, Bennett, Zwaenepoel, SOSP 91, section 3.3) where it has them, and the causes of extra
// traffic that Lu, Dwarkadas, Cox and Zwaenepoel tell apart (SC 95, section 5): false sharing, data that moves
// apart from the lock that guards it, and migration.
//
// # What is known
//
// Accesses that find their page here are never seen. So a verdict rests on three kinds of evidence:
//
//   - Who wrote which words: each node compares the page with a twin when it loses the right to write, so this is
//     proven. A word that was written with the value it had is not seen.
//   - Who waited, for what right, and at which words the waiting began. A first touch is a sample of what is
//     read, no proof: the accesses after it cost nothing and leave no trace.
//   - How long a node had the page, and how soon it wanted the page back, in units of the time that it takes to
//     fetch the page. Counts of such events are used and no mean values, since one pause of a program outweighs
//     any number of short times.
//
// # How a class is found
//
//	nobody waited, or one node alone ──────────────▶ private; misplaced-home if its writer waits for another home
//	nobody wants it back that has lost it ─────────▶ first-touch, read-mostly
//	nobody writes ─────────────────────────────────▶ read-mostly
//	two nodes or more write, no word in common ────▶ falsely-shared, proven
//	one writes, others read
//	    copies live long ──────────────────────────▶ read-mostly
//	    no read began at a word that is written ───▶ falsely-shared, an estimate
//	    else ──────────────────────────────────────▶ producer-consumer
//	two nodes or more write the same words
//	    nearly always with one mutex ──────────────▶ lock-apart
//	    lost before it was used, wanted at once ───▶ thrashing
//	    wanted by several at a time ───────────────▶ contended
//	    else ──────────────────────────────────────▶ migratory
//
// Words that a node wrote in one of its tenures only, such as the zeros with which it began, don't count beside
// words that it writes again and again.
package sharing
