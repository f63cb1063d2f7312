package bench

import (
	"context"
	"math"
)

func init() {
	register(Workload{
		Name: "shallow", Suite: "treadmarks", Size: 512,
		Purpose: "many grids that are read over the edges of parts, two barriers in a step",
		Sharing: "each rank writes a block of rows of 13 grids and reads a row more on each side of seven",
		Run:     shallow,
	})
}

// Constants of the model: Sadourny, J. Atmos. Sci. 32 (1975), as in the benchmark that NCAR made of it.
const (
	shallowSteps  = 20
	shallowCell   = 1e5 // meters along a cell
	shallowTick   = 90. // seconds in a step
	shallowStream = 1e6 // amplitude of the stream function
	shallowSmooth = 0.001
	shallowError  = 1e-12 // relative, of the mass, which must not change
)

// shallow computes the weather on a torus of shallow water. Its result must equal the sequential one in
// every bit.
func shallow(ctx context.Context, r *Rank) error {
	n := r.size()
	all, one, err := solveBoth(ctx, r, func(t team) *weather { return newWeather(t, n) })
	if err != nil || r.Rank != 0 {
		return err
	}
	before, after := newWeather(team{ctx, r, true}, n).mass(), one.mass()
	r.Verify(near(after, before, shallowError), "the mass was %v and is %v in the sequential run", before, after)
	for k := range all.now {
		verifySame(r, all.now[k].elems, one.now[k].elems)
	}
	return nil
}

// weather is one member's side of shallow: rows [lo, hi) of all grids.
type weather struct {
	team
	n, lo, hi int
	// now, before and later are pressure and the two speeds: as they are, a step ago, and in a step.
	now, before, later [3]Matrix
	// flow is what moves them: the mass flux in both directions, potential vorticity, and energy.
	flow [4]Matrix
}

func newWeather(t team, n int) *weather {
	s := &weather{team: t, n: n}
	s.lo, s.hi = t.share(n)
	for i, name := range []string{"p", "u", "v"} {
		s.now[i], s.before[i], s.later[i] = t.matrix(name, n, n), t.matrix(name+"/before", n, n), t.matrix(name+"/later", n, n)
	}
	for i, name := range []string{"flux/u", "flux/v", "vorticity", "energy"} {
		s.flow[i] = t.matrix(name, n, n)
	}
	for i := s.lo; i < s.hi; i++ {
		s.start(i)
	}
	return s
}

// start sets row i to its first weather.
func (s *weather) start(i int) {
	angle := 2 * math.Pi / float64(s.n)
	stream := func(i, j int) float64 {
		return shallowStream * math.Sin((float64(i)+0.5)*angle) * math.Sin((float64(j)+0.5)*angle)
	}
	side := float64(s.n) * shallowCell
	pressure := math.Pi * math.Pi * shallowStream * shallowStream / (side * side)
	now, before := s.write(i, s.now[:]), s.write(i, s.before[:])
	for j := range s.n {
		now[0].Data[j] = pressure*(math.Cos(2*float64(i)*angle)+math.Cos(2*float64(j)*angle)) + 50000
		now[1].Data[j] = (stream(i, j) - stream(i, j+1)) / shallowCell
		now[2].Data[j] = (stream(i+1, j) - stream(i, j)) / shallowCell
		for k := range now {
			before[k].Data[j] = now[k].Data[j]
		}
	}
	done(before)
	done(now)
}

// write returns row i of each grid for writing.
func (s *weather) write(i int, grids []Matrix) []Window[float64] {
	rows := make([]Window[float64], len(grids))
	for k, g := range grids {
		rows[k] = g.Write(i, i+1)
	}
	return rows
}

func done(rows []Window[float64]) {
	for k := range rows {
		rows[k].Done()
	}
}

func (s *weather) solve() {
	s.meet()
	tick := shallowTick
	for step := range shallowSteps {
		s.each(s.fluxes)
		s.meet()
		s.each(func(i int) { s.advance(i, tick) })
		s.meet()
		s.each(func(i int) { s.turn(i, step > 0) })
		s.meet()
		tick = 2 * shallowTick // from the step before the last
	}
}

// each calls f for each row of this member.
func (s *weather) each(f func(i int)) {
	for i := s.lo; i < s.hi; i++ {
		f(i)
	}
}

// fluxes computes what moves row i.
func (s *weather) fluxes(i int) {
	p, u, v := s.now[0].ring(i), s.now[1].ring(i), s.now[2].ring(i)
	north, here, _ := p.rows()
	_, east, below := u.rows()
	above, south, _ := v.rows()
	out := s.write(i, s.flow[:])
	for j := range s.n {
		w, e := (j+s.n-1)%s.n, (j+1)%s.n
		out[0].Data[j] = (here[j] + north[j]) / 2 * east[j]
		out[1].Data[j] = (here[j] + here[w]) / 2 * south[j]
		out[2].Data[j] = 4 / shallowCell * (south[j] - above[j] - east[j] + east[w]) /
			(north[w] + here[w] + here[j] + north[j])
		out[3].Data[j] = here[j] + (below[j]*below[j]+east[j]*east[j]+south[e]*south[e]+south[j]*south[j])/4
	}
	done(out)
	v.done()
	u.done()
	p.done()
}

// advance computes row i a step later, from a step before.
func (s *weather) advance(i int, tick float64) {
	fluxU, fluxV, spin, energy := s.flow[0].ring(i), s.flow[1].ring(i), s.flow[2].ring(i), s.flow[3].ring(i)
	_, cu, cuBelow := fluxU.rows()
	cvAbove, cv, _ := fluxV.rows()
	_, z, zBelow := spin.rows()
	hAbove, h, _ := energy.rows()
	old, out := s.write(i, s.before[:]), s.write(i, s.later[:])
	for j := range s.n {
		w, e := (j+s.n-1)%s.n, (j+1)%s.n
		out[0].Data[j] = old[0].Data[j] - tick/shallowCell*(cuBelow[j]-cu[j]+cv[e]-cv[j])
		out[1].Data[j] = old[1].Data[j] + tick/8*(z[e]+z[j])*(cv[e]+cvAbove[e]+cvAbove[j]+cv[j]) -
			tick/shallowCell*(h[j]-hAbove[j])
		out[2].Data[j] = old[2].Data[j] - tick/8*(zBelow[j]+z[j])*(cuBelow[j]+cuBelow[w]+cu[w]+cu[j]) -
			tick/shallowCell*(h[j]-h[w])
	}
	done(out)
	done(old)
	energy.done()
	spin.done()
	fluxV.done()
	fluxU.done()
}

// turn makes the later weather of row i that of now, which becomes the one before: smoothed in time,
// once there are three.
func (s *weather) turn(i int, smooth bool) {
	before, now, later := s.write(i, s.before[:]), s.write(i, s.now[:]), s.write(i, s.later[:])
	for k := range now {
		old, cur, next := before[k].Data, now[k].Data, later[k].Data
		for j, x := range cur {
			if smooth {
				x += shallowSmooth * (next[j] - 2*x + old[j])
			}
			old[j], cur[j] = x, next[j]
		}
	}
	done(later)
	done(now)
	done(before)
}

// mass returns the mean pressure.
func (s *weather) mass() float64 {
	w := s.now[0].Read(0, s.n)
	defer w.Done()
	var total float64
	for _, p := range w.Data {
		total += p
	}
	return total / float64(len(w.Data))
}
