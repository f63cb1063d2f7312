//go:build noevents

package dsm

const recording = false
