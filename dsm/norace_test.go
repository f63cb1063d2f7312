//go:build !race

package dsm_test

const raceEnabled = false
