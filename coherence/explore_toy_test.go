package coherence

import (
	"errors"
	"strings"
	"testing"
)

// toy is a model of two hands that count to three, with a fault planted if asked.
type toy struct {
	counts [2]byte
	fault  toyFault
}

type toyFault byte

const (
	sound toyFault = iota
	breaks
	stops
	circles
)

// hand is the one that counts.
type hand int

func (h hand) String() string { return [...]string{"left", "right"}[h] }

func (m *toy) clone() *toy { c := *m; return &c }

func (m *toy) enabled(hands []hand) []hand {
	for h, n := range m.counts {
		if n < 3 && (m.fault != stops || m.counts != [2]byte{2, 1}) {
			hands = append(hands, hand(h))
		}
	}
	return hands
}

func (m *toy) do(h hand) error {
	m.counts[h]++
	if m.counts != [2]byte{2, 1} {
		return nil
	}
	switch m.fault {
	case breaks:
		return errors.New("broken")
	case circles:
		m.counts[h]--
	}
	return nil
}

func (m *toy) atRest() error {
	if m.counts != [2]byte{3, 3} {
		return errors.New("stopped")
	}
	return nil
}

func (m *toy) fingerprint(b []byte) []byte { return append(b, m.counts[:]...) }

func TestExplorerVisitsEveryState(t *testing.T) {
	x := newExplorer[*toy, hand]()
	if v := x.walk(&toy{}); v != nil {
		t.Fatal(v)
	}
	if want := (explored{states: 16, transitions: 24, ends: 1, depth: 6}); x.explored != want {
		t.Errorf("explored %v, want %v", x.explored, want)
	}
}

func TestExplorerFindsPlantedFaults(t *testing.T) {
	for fault, want := range map[toyFault]string{breaks: "broken", stops: "stopped", circles: "never end"} {
		v := newExplorer[*toy, hand]().walk(&toy{fault: fault})
		if v == nil || !strings.Contains(v.Error(), want) {
			t.Fatalf("found %v, want one that says %q", v, want)
		}
		again := toy{fault: fault}
		for _, h := range v.events[:len(v.events)-1] {
			if err := again.do(h); err != nil {
				t.Errorf("%v breaks a promise before the last event: %v", v.events, err)
			}
		}
		if fault == circles {
			continue // no single state is wrong, so there is no shortest run to it
		}
		v = newExplorer[*toy, hand]().shortest(&toy{fault: fault}, 100)
		if v == nil || len(v.events) != 3 || !strings.Contains(v.Error(), want) {
			t.Errorf("the shortest run is %v, want one of three events that says %q", v, want)
		}
	}
}

func TestExplorerKeepsToTheLimit(t *testing.T) {
	if v := newExplorer[*toy, hand]().shortest(&toy{fault: breaks}, 2); v != nil {
		t.Errorf("found %v within two events", v.events)
	}
}
