package pagetable

import (
	"fmt"
	"testing"
)

// TestSketch compares sketches with what they mean, word by word.
func TestSketch(t *testing.T) {
	for size := MinPageSize; size <= MaxPageSize; size *= 2 {
		words := size / wordSize
		for _, marked := range [][]int{{}, {0}, {words - 1}, {0, words / 2, words - 1}, {words / 3, words/3 + 1}, {words / 64, 7 * words / 64}} {
			t.Run(fmt.Sprint(size, marked), func(t *testing.T) {
				var f Footprint
				want := uint64(0)
				for _, w := range marked {
					f.Mark(w*wordSize, w*wordSize+1)
					for bit := range 64 {
						if words < 64 && bit*words/64 == w || words >= 64 && w*64/words == bit {
							want |= 1 << bit
						}
					}
				}
				if got := f.Sketch(size); got != want {
					t.Errorf("%064b, want\n%064b", got, want)
				}
			})
		}
	}
}
