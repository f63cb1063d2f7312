package bench

// lcg is the generator of the NAS Parallel Benchmarks: x' = a x mod 2^46 with a = 5^13, whose numbers
// are x / 2^46 (Bailey et al., RNR-94-007, section 2.3). A product modulo 2^64 keeps its low 46 bits.
type lcg uint64

const (
	lcgMultiplier = 1220703125
	lcgMask       = 1<<46 - 1
)

// next returns a number from (0, 1).
func (g *lcg) next() float64 {
	*g = *g * lcgMultiplier & lcgMask
	return float64(*g) * (1.0 / (1 << 46))
}

// skip passes over n numbers, in about log2(n) steps.
func (g *lcg) skip(n uint64) {
	for a := lcg(lcgMultiplier); n > 0; n >>= 1 {
		if n&1 == 1 {
			*g = *g * a & lcgMask
		}
		a = a * a & lcgMask
	}
}
