package layout

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// errText says that text is no Type.
var errText = errors.New("layout: this is no type")

// maxDepth bounds how deep types may lie in each other: text comes from other processes.
const maxDepth = 100

// Parse returns the Type that text describes. Text that Type.Text has cut off is an error.
func Parse(text string) (*Type, error) {
	p := parser{rest: text}
	t := p.typ(maxDepth)
	if p.failed || p.rest != "" {
		return nil, fmt.Errorf("%w: %.80q", errText, text)
	}
	return t, nil
}

// parser reads from rest until it has failed.
type parser struct {
	rest   string
	failed bool
}

func (p *parser) fail() { p.failed, p.rest = true, "" }

// next takes a word if it comes next.
func (p *parser) next(word string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, word)
	return ok
}

func (p *parser) want(word string) {
	if !p.next(word) {
		p.fail()
	}
}

func (p *parser) typ(depth int) *Type {
	if depth == 0 || p.failed {
		p.fail()
		return &Type{}
	}
	if p.next("[") {
		return p.array(depth)
	}
	t := &Type{Name: p.name()}
	t.Size = sizes[t.Name]
	if p.next("/") {
		t.Size = p.number()
	} else if t.Size == 0 {
		p.fail()
	}
	if p.next("{") {
		t.Fields = p.fields(depth, t.Size)
	}
	return t
}

func (p *parser) array(depth int) *Type {
	t := &Type{Len: p.number()}
	p.want("]")
	t.Elem = p.typ(depth - 1)
	if t.Elem.Size > 0 && t.Len > math.MaxInt/t.Elem.Size {
		p.fail()
	}
	t.Size = t.Len * t.Elem.Size
	return t
}

// fields reads the fields of a struct of that size, whose { is read.
func (p *parser) fields(depth, size int) []Field {
	fields := []Field{}
	if p.next("}") {
		return fields
	}
	for !p.failed {
		f := Field{Name: p.name()}
		p.want(" ")
		f.Type = p.typ(depth - 1)
		p.want(" @")
		f.Offset = p.number()
		if f.Offset > size || f.Type.Size > size-f.Offset {
			p.fail()
		}
		fields = append(fields, f)
		if p.next("}") {
			break
		}
		p.want("; ")
	}
	return fields
}

// name reads a name, whose brackets may hold anything.
func (p *parser) name() string {
	open, end := 0, len(p.rest)
scan:
	for i := range len(p.rest) {
		switch c := p.rest[i]; {
		case c == '[':
			open++
		case c == ']' && open > 0:
			open--
		case open == 0 && strings.IndexByte("]/{};@ ", c) >= 0:
			end = i
			break scan
		}
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	if name == "" || open > 0 {
		p.fail()
	}
	return name
}

func (p *parser) number() int {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(p.rest)
	}
	n, err := strconv.Atoi(p.rest[:end])
	if err != nil {
		p.fail()
		return 0
	}
	p.rest = p.rest[end:]
	return n
}
