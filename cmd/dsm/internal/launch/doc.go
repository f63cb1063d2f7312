// Package launch runs several copies of one program on this machine and sees to it that they end
// together.
//
// It is as if the copies were one process: their output comes out of one stream, line by line and
// marked with the copy's rank; a signal for one is a signal for all; when one fails the others are
// ended and the failing one is named; and when the launcher is gone, so are they.
//
// The contract of Run:
//
//  1. Every copy leads a process group of its own, so that what a copy starts (think of "go run") ends
//     with it.
//  2. A copy is over when its program has ended and nothing is left of its group. What is left when
//     the program has ended is asked to end (SIGTERM) and made to (SIGKILL) when it no longer holds the
//     copy's output, or after Spec.Grace.
//  3. The first copy that ends with another status than 0 is the cause, and the others are ended. A
//     copy that was ended by a signal that did not come from here takes precedence over one that
//     ended with a status: the others often notice a death before its parent does.
//  4. Run returns after the last copy is over.
//
// If the launcher is killed, a second process, the keeper, sees the end of a pipe and kills every
// group that is left. On Linux the system itself also kills the copies' programs then, which helps
// when launcher and keeper are killed together. Outside Unix there are no groups, and only the
// programs themselves are ended.
//
// This package does not restart a copy and knows nothing of what the copies do.
package launch
