package bench

import "math"

// vec is a place, a speed or a force in space.
type vec [3]float64

func (a vec) plus(b vec) vec      { return vec{a[0] + b[0], a[1] + b[1], a[2] + b[2]} }
func (a vec) minus(b vec) vec     { return vec{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }
func (a vec) times(f float64) vec { return vec{f * a[0], f * a[1], f * a[2]} }
func (a vec) square() float64     { return a[0]*a[0] + a[1]*a[1] + a[2]*a[2] }
func (a vec) length() float64     { return math.Sqrt(a.square()) }
func (g *lcg) vec() vec           { return vec{g.next(), g.next(), g.next()} }
