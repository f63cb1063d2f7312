//go:build !invariants

package coherence

// invariantsOn makes every step end with a check of its page.
const invariantsOn = false
