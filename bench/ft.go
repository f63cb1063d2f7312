package bench

import (
	"context"
	"math"
	"math/cmplx"

	"pagemesh/pagetable"
)

func init() {
	register(Workload{
		Name: "ft", Suite: "npb", Classes: []string{"W", "S", "A"},
		Purpose: "all data changes hands in every step, in pieces of a few pages",
		Sharing: "each rank writes a block of one array along y and reads a block along z",
		Run:     ft,
	})
}

// spectrum is a class of FT (NPB report RNR-94-007, section 2.6), with the official checksums.
type spectrum struct {
	nx, ny, nz int
	checksums  [ftIterations]complex128
}

var spectra = map[string]spectrum{
	"S": {64, 64, 64, [ftIterations]complex128{
		554.6087004964 + 484.5363331978i, 554.6385409189 + 486.5304269511i, 554.6148406171 + 488.3910722336i,
		554.5423607415 + 490.1273169046i, 554.4255039624 + 491.7475857993i, 554.2683411902 + 493.2597244941i,
	}},
	"W": {128, 128, 32, [ftIterations]complex128{
		567.3612178944 + 529.3246849175i, 563.1436885271 + 528.2149986629i, 559.4024089970 + 527.0996558037i,
		556.0698047020 + 526.0027904925i, 553.0898991250 + 524.9400845633i, 550.4159734538 + 523.9212247086i,
	}},
	"A": {256, 256, 128, [ftIterations]complex128{
		504.6735008193 + 511.4047905510i, 505.9412319734 + 509.8809666433i, 506.9376896287 + 509.8144042213i,
		507.7892868474 + 510.1336130759i, 508.5233095391 + 510.4914655194i, 509.1487099959 + 510.7917842803i,
	}},
}

const (
	ftSeed       = 314159265
	ftIterations = 6
	ftAlpha      = 1e-6  // how fast heat spreads
	ftSamples    = 1024  // points that make a checksum
	ftError      = 1e-12 // relative, of a checksum's parts
)

// ft solves the heat equation on a periodic box by a Fourier transform, after which time passes by
// multiplication, and its inverse.
func ft(ctx context.Context, r *Rank) error {
	class := spectra[r.Spec.Class]
	all, _, err := solveBoth(ctx, r, func(t team) *heatBox { return newHeatBox(t, class) })
	if err != nil || r.Rank != 0 {
		return err
	}
	right := 0
	for i, want := range class.checksums {
		if got := all.found[i]; near(real(got), real(want), ftError) && near(imag(got), imag(want), ftError) {
			right++
		}
	}
	r.Verify(right == ftIterations, "%d of %d official checksums, the last %.10f", right, ftIterations, all.found[ftIterations-1])
	return nil
}

// heatBox is one member's side of ft. It has the planes [zlo, zhi) of space, and of the spectrum those
// with y in [ylo, yhi), in the order y, z, x.
type heatBox struct {
	team
	spectrum
	ylo, yhi, zlo, zhi int
	space, waves       []complex128
	decay              []float64          // of each wave, in one step
	exchange           *Array[complex128] // the whole box, in the order of the spectrum
	parts              [2]func(float64) float64
	found              [ftIterations]complex128
}

func newHeatBox(t team, class spectrum) *heatBox {
	b := &heatBox{team: t, spectrum: class, parts: [2]func(float64) float64{t.adder("real"), t.adder("imaginary")}}
	b.ylo, b.yhi = t.share(b.ny)
	b.zlo, b.zhi = t.share(b.nz)
	b.exchange = teamArray[complex128](t, "exchange", b.nx*b.ny*b.nz,
		layout{kind: pagetable.Blocked, pageSize: rowPage(16 * b.nx * (b.zhi - b.zlo))})
	b.space = make([]complex128, b.nx*b.ny*(b.zhi-b.zlo))
	g := lcg(ftSeed)
	g.skip(2 * uint64(b.nx*b.ny*b.zlo))
	for i := range b.space {
		re := g.next()
		b.space[i] = complex(re, g.next())
	}
	b.waves = make([]complex128, b.nx*b.nz*(b.yhi-b.ylo))
	for y := b.ylo; y < b.yhi; y++ {
		for z := range b.nz {
			for x := range b.nx {
				k := square(x, b.nx) + square(y, b.ny) + square(z, b.nz)
				b.decay = append(b.decay, math.Exp(-4*ftAlpha*math.Pi*math.Pi*k))
			}
		}
	}
	return b
}

// square returns the square of the i-th of n frequencies, the second half of which is negative.
func square(i, n int) float64 {
	f := float64((i+n/2)%n - n/2)
	return f * f
}

func (b *heatBox) solve() {
	b.forward()
	work := make([]complex128, len(b.waves))
	for i := range b.found {
		for k := range b.waves {
			b.waves[k] *= complex(b.decay[k], 0)
		}
		copy(work, b.waves)
		b.backward(work)
		b.found[i] = b.checksum()
	}
}

// forward makes the spectrum of space.
func (b *heatBox) forward() {
	plane := b.nx * b.ny
	f, g, h := newFourier(b.nx, 1), newFourier(b.ny, 1), newFourier(b.nz, 1)
	for at := 0; at < len(b.space); at += plane {
		f.rows(b.space[at : at+plane])
		g.columns(b.space[at:at+plane], b.nx)
	}
	for y := range b.ny {
		w := b.exchange.Write((y*b.nz+b.zlo)*b.nx, (y*b.nz+b.zhi)*b.nx)
		for z := range b.zhi - b.zlo {
			copy(w.Data[z*b.nx:], b.space[z*plane+y*b.nx:][:b.nx])
		}
		w.Done()
	}
	b.meet()
	w := b.exchange.Read(b.ylo*b.nz*b.nx, b.yhi*b.nz*b.nx)
	copy(b.waves, w.Data)
	w.Done()
	for at := 0; at < len(b.waves); at += b.nz * b.nx {
		h.columns(b.waves[at:at+b.nz*b.nx], b.nx)
	}
	b.meet()
}

// backward makes space of a spectrum, which it changes.
func (b *heatBox) backward(waves []complex128) {
	plane := b.nx * b.ny
	f, g, h := newFourier(b.nx, -1), newFourier(b.ny, -1), newFourier(b.nz, -1)
	for at := 0; at < len(waves); at += b.nz * b.nx {
		h.columns(waves[at:at+b.nz*b.nx], b.nx)
	}
	w := b.exchange.Write(b.ylo*b.nz*b.nx, b.yhi*b.nz*b.nx)
	copy(w.Data, waves)
	w.Done()
	b.meet()
	for i := range b.ny {
		y := (b.ylo + i) % b.ny // not all ask the same rank at the same time
		w := b.exchange.Read((y*b.nz+b.zlo)*b.nx, (y*b.nz+b.zhi)*b.nx)
		for z := range b.zhi - b.zlo {
			copy(b.space[z*plane+y*b.nx:], w.Data[z*b.nx:(z+1)*b.nx])
		}
		w.Done()
	}
	for at := 0; at < len(b.space); at += plane {
		g.columns(b.space[at:at+plane], b.nx)
		f.rows(b.space[at : at+plane])
	}
}

// checksum adds up some points of space. All members have read what they exchanged when it returns.
func (b *heatBox) checksum() complex128 {
	var c complex128
	for j := 1; j <= ftSamples; j++ {
		if z := 5 * j % b.nz; b.zlo <= z && z < b.zhi {
			c += b.space[((z-b.zlo)*b.ny+3*j%b.ny)*b.nx+j%b.nx]
		}
	}
	n := float64(b.nx * b.ny * b.nz)
	return complex(b.parts[0](real(c))/n, b.parts[1](imag(c))/n)
}

// fourier transforms lines of one length.
type fourier struct {
	roots         []complex128 // of unity
	line, scratch []complex128
}

// newFourier returns the transform of n points, a power of two; sign -1 is the inverse, times n.
func newFourier(n int, sign float64) *fourier {
	f := &fourier{make([]complex128, n), make([]complex128, n), make([]complex128, n)}
	for k := range f.roots {
		f.roots[k] = cmplx.Rect(1, -sign*2*math.Pi*float64(k)/float64(n))
	}
	return f
}

// rows transforms lines that lie one after the other.
func (f *fourier) rows(lines []complex128) {
	for n := len(f.line); len(lines) > 0; lines = lines[n:] {
		copy(f.line, lines)
		copy(lines, f.transform())
	}
}

// columns transforms each column of a table.
func (f *fourier) columns(table []complex128, columns int) {
	for c := range columns {
		for i := range f.line {
			f.line[i] = table[i*columns+c]
		}
		for i, v := range f.transform() {
			table[i*columns+c] = v
		}
	}
}

// transform returns the transform of f.line. Its steps go to and fro between two arrays and leave all in
// order (Stockham's method: Van Loan, Computational Frameworks for the FFT, section 1.7).
func (f *fourier) transform() []complex128 {
	from, to := f.line, f.scratch
	for half, step := len(from)/2, 1; half > 0; half, step = half/2, step*2 {
		for j := range half {
			root := f.roots[j*step]
			a, b := from[j*step:][:step], from[(j+half)*step:][:step]
			sum, difference := to[2*j*step:][:step], to[(2*j+1)*step:][:step]
			for k := range step {
				sum[k], difference[k] = a[k]+b[k], (a[k]-b[k])*root
			}
		}
		from, to = to, from
	}
	return from
}
