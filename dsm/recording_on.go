//go:build !noevents

package dsm

// recording says whether nodes record events. Built with the tag noevents they don't, and nothing of it is left in
// the way of a fault: this is for measuring what it costs.
const recording = true
