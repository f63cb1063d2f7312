// Package report says what a space loses to page traffic, why, and what to do about it.
//
// A Report is a function of what dsm.Status and dsm.PageStats hold: the same counts, the same words. It answers in the
// order in which people ask: is anything wrong, and how much of the time does it take; which data is to blame, the
// worst first; who uses which bytes of it, by field and line; what to change; how sure is all this.
//
// Time is lost while an access of a program waits for a page; what several lose at once is lost once (see
// dsm.Counts.LostNanos). Shares are of the time that all nodes together have had.
package report
