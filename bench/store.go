package bench

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// store is a hash table of records in shared memory. It is cut into shelves with a mutex for each; a shelf
// that is full goes on in another one.
type store struct {
	team
	shelves *Array[shelf]
	bases   int            // shelves that keys are spread over; those after them continue full ones
	used    *Array[uint64] // one: how many of those after them are in use
	exclude []func(func()) // by base shelf
}

const (
	recordFields = 10
	recordField  = 100 // bytes
	shelfRecords = 8
)

// record is the value of a key.
type record struct {
	Fields [recordFields][recordField]byte
}

// shelf is some records with their keys.
type shelf struct {
	Used, Next int32 // records, and the shelf where this one goes on: 0 if it doesn't
	Keys       [shelfRecords]uint64
	Records    [shelfRecords]record
}

// newStore returns an empty store for that many records.
func newStore(t team, records int) *store {
	s := &store{team: t, bases: records/shelfRecords + 1}
	s.shelves = teamArray[shelf](t, "shelves", 2*s.bases, layout{})
	s.used = teamArray[uint64](t, "used", 1, layout{words: true})
	for i := range s.bases {
		s.exclude = append(s.exclude, t.exclude(fmt.Sprintf("shelf/%d", i)))
	}
	return s
}

// insert adds the first version of a record, which must be new.
func (s *store) insert(key uint64) {
	base := s.base(key)
	s.exclude[base](func() {
		at := base
		for {
			w := s.shelves.Write(at, at+1)
			shelf := &w.Data[0]
			if shelf.Used < shelfRecords {
				shelf.put(key)
				w.Done()
				return
			}
			if shelf.Next == 0 {
				shelf.Next = int32(s.bases-1) + int32(addWord(s.used, 0, 1))
			}
			at = int(shelf.Next)
			w.Done()
		}
	})
}

func (s *store) base(key uint64) int { return int(key >> 32 % uint64(s.bases)) }

// put adds a record to a shelf that has room.
func (s *shelf) put(key uint64) {
	s.Keys[s.Used] = key
	for field := range recordFields {
		s.Records[s.Used].fill(key, field, 0)
	}
	s.Used++
}

// read calls f with the record of a key, which must not change it, and reports whether there is one.
func (s *store) read(key uint64, f func(r *record)) bool { return s.with(key, s.shelves.Read, f) }

// update does so with f changing it.
func (s *store) update(key uint64, f func(r *record)) bool { return s.with(key, s.shelves.Write, f) }

func (s *store) with(key uint64, window func(lo, hi int) Window[shelf], f func(r *record)) (found bool) {
	base := s.base(key)
	s.exclude[base](func() {
		for at, more := base, true; more && !found; {
			w := window(at, at+1)
			shelf := &w.Data[0]
			i := slices.Index(shelf.Keys[:shelf.Used], key)
			if found = i >= 0; found {
				f(&shelf.Records[i])
			}
			at, more = int(shelf.Next), shelf.Next > 0
			w.Done()
		}
	})
	return found
}

// audit returns how many records there are that are whole, and how many updates they have seen.
func (s *store) audit() (records, updates int) {
	for at := range s.shelves.Len() {
		w := s.shelves.Read(at, at+1)
		shelf := &w.Data[0]
		for i, key := range shelf.Keys[:shelf.Used] {
			if shelf.Records[i].whole(key) {
				records++
			}
			for field := range recordFields {
				updates += int(shelf.Records[i].version(field))
			}
		}
		w.Done()
	}
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
