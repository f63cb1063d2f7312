package dsm

import (
	"encoding/binary"
	"sort"
)

// frameSizes says of each instruction of an executable how far its function has moved the stack pointer. It
// is the table by which the Go runtime walks stacks, as cmd/link writes it since Go 1.20 (runtime/symtab.go,
// pcHeader and _func). The executable may be anybody's: what doesn't fit is no answer.
type frameSizes struct {
	text    uint64 // where the functions begin
	quantum uint64 // instructions begin at its multiples
	count   int    // of functions
	funcs   []byte // first count pairs of where a function begins, from text on, and where in funcs it is described
	deltas  []byte // that the descriptions point to
}

const (
	lineTableMagic = 0xfffffff1
	funcPair       = 8  // bytes
	funcStack      = 16 // where in a description is said where the deltas are
	maxFrame       = 1 << 30
)

// readFrameSizes reads a section .gopclntab of an executable whose section .text is at that address. The
// result of one that is of another version has no answers.
func readFrameSizes(table []byte, text uint64) frameSizes {
	const headerSize = 72
	if len(table) < headerSize || binary.LittleEndian.Uint32(table) != lineTableMagic || table[7] != 8 {
		return frameSizes{}
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(table[at:]) }
	count, deltas, funcs := word(8), word(56), word(64)
	if deltas > uint64(len(table)) || funcs > uint64(len(table)) || count > (uint64(len(table))-funcs)/funcPair {
		return frameSizes{}
	}
	return frameSizes{text, uint64(table[6]), int(count), table[funcs:], table[deltas:]}
}

// at returns how many bytes the stack pointer is below the return address at that instruction.
func (f *frameSizes) at(pc uint64) (size uint64, ok bool) {
	i := sort.Search(f.count, func(i int) bool { return f.begin(i) > pc }) - 1
	if i < 0 {
		return 0, false
	}
	described := uint64(binary.LittleEndian.Uint32(f.funcs[i*funcPair+4:])) + funcStack
	if described+4 > uint64(len(f.funcs)) {
		return 0, false
	}
	start := uint64(binary.LittleEndian.Uint32(f.funcs[described:]))
	if start == 0 || start > uint64(len(f.deltas)) {
		return 0, false
	}
	return f.walk(f.deltas[start:], f.begin(i), pc)
}

func (f *frameSizes) begin(i int) uint64 {
	return f.text + uint64(binary.LittleEndian.Uint32(f.funcs[i*funcPair:]))
}

// walk adds up the deltas of a function that begins at the address at: pairs of by how much the size changes,
// and for how many instructions it stays so.
func (f *frameSizes) walk(deltas []byte, at, pc uint64) (size uint64, ok bool) {
	value := int64(-1)
	for first := true; ; first = false {
		change, n := binary.Uvarint(deltas)
		if n <= 0 || change == 0 && !first {
			return 0, false
		}
		value += int64(change>>1) ^ -int64(change&1)
		length, m := binary.Uvarint(deltas[n:])
		if m <= 0 || length == 0 {
			return 0, false
		}
		if at += length * f.quantum; pc < at {
			return uint64(value), value >= 0 && value <= maxFrame
		}
		deltas = deltas[n+m:]
	}
}
