package bench

import (
	"encoding/binary"

	"pagemesh/dsm"
	"pagemesh/dsm/shared"
	"pagemesh/pagetable"
)

// store holds records by their keys: in a map that all members share, or in one of Go for one member alone.
type store struct {
	team
	all *shared.Map[uint64, record]
	own map[uint64]record
}

const (
	recordFields = 10
	recordField  = 100 // bytes
)

// record is the value of a key.
type record struct {
	Fields [recordFields][recordField]byte
}

// newStore returns an empty store for that many records.
func newStore(t team, records int) *store {
	s := &store{team: t, own: map[uint64]record{}}
	if !t.alone {
		var err error
		s.all, err = shared.OpenMap[uint64, record](t.ctx, t.r.Space, t.r.name+"/records", shared.MapOptions{
			Capacity: records, Stripes: 256, PageSize: t.r.Spec.PageSize, Consistency: t.r.Spec.consistency(layout{}),
			Placement: dsm.Placement{Kind: t.r.Spec.placement(pagetable.Hashed)},
		})
		check(err)
	}
	return s
}

// insert adds the first version of a record.
func (s *store) insert(key uint64) {
	s.update(key, func(r *record, _ bool) {
		for field := range recordFields {
			r.fill(key, field, 0)
		}
	})
}

// read returns the record of a key, if there is one.
func (s *store) read(key uint64) (r record, found bool) {
	if s.alone {
		r, found = s.own[key]
		return r, found
	}
	r, found, err := s.all.Get(s.ctx, key)
	check(err)
	return r, found
}

// update has f change the record of a key, or fill in a new one.
func (s *store) update(key uint64, f func(r *record, found bool)) {
	if s.alone {
		r, found := s.own[key]
		f(&r, found)
		s.own[key] = r
		return
	}
	check(s.all.Update(s.ctx, key, func(r *record, found bool) bool {
		f(r, found)
		return true
	}))
}

// audit returns how many records all members have that are whole, and how many updates they have seen.
func (s *store) audit() (records, updates int) {
	check(s.all.Range(s.ctx, func(key uint64, r record) bool {
		if r.whole(key) {
			records++
		}
		for field := range recordFields {
			updates += int(r.version(field))
		}
		return true
	}))
	return records, updates
}

// version returns how often a field was changed.
func (r *record) version(field int) uint64 { return binary.LittleEndian.Uint64(r.Fields[field][:]) }

// fill sets a field to what it is in one version: every byte depends on it.
func (r *record) fill(key uint64, field int, version uint64) {
	binary.LittleEndian.PutUint64(r.Fields[field][:], version)
	for i := 8; i < recordField; i++ {
		r.Fields[field][i] = content(key, version, i)
	}
}

func content(key, version uint64, i int) byte { return byte(key + version*31 + uint64(i)*7) }

// change makes the next version of a field.
func (r *record) change(key uint64, field int) { r.fill(key, field, r.version(field)+1) }

// whole reports whether each field is that of one version.
func (r *record) whole(key uint64) bool {
	for field := range recordFields {
		version := r.version(field)
		for i := 8; i < recordField; i++ {
			if r.Fields[field][i] != content(key, version, i) {
				return false
			}
		}
	}
	return true
}
