package coherence

import "pagemesh/pagetable"

// Ready is the work that one step of a Page asks its caller to do. The caller does it in the order
// of the fields, as doc.go numbers it, before the next step of the same page.
type Ready struct {
	// Install: put the received bytes (or zeros) into the page's frame.
	Install Content
	// Before and After are the node's right on the page before and after the step. If they differ, the
	// caller changes the protection of the frame now.
	Before, After pagetable.Access
	// Send lists the messages to send. If one carries Bytes they are read from the frame now. Those
	// addressed to the node itself are stepped, in order, after everything else here is done.
	Send []Message
	// Woken is the right up to which waiting faults may go on; NoAccess wakes none. Each of them gets
	// its one access before the next step, however soon the page is taken away again.
	Woken pagetable.Access
	// Lost ends all waiting faults: the page can't be had.
	Lost bool
}

// Reset empties rd for the next step and keeps its memory.
func (rd *Ready) Reset() { *rd = Ready{Send: rd.Send[:0]} }
