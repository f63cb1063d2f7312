package layout

import (
	"fmt"
	"reflect"
	"strings"
)

// Type is how values of a Go type lie in memory.
type Type struct {
	Name   string  // with its package, "main.Worker"; of an array ""
	Size   int     // bytes
	Fields []Field // of a struct, in their order; nil if they are not known, or it is none
	Elem   *Type   // of an array, else nil
	Len    int     // of an array
}

// Field is a field of a struct.
type Field struct {
	Name   string
	Offset int // bytes
	Type   *Type
}

// unnamed is what a struct without a name is called.
const unnamed = "struct"

// Of returns the layout of a type. What it points to is not part of it.
func Of(t reflect.Type) *Type {
	switch t.Kind() {
	case reflect.Array:
		return &Type{Size: int(t.Size()), Elem: Of(t.Elem()), Len: t.Len()}
	case reflect.Struct:
		l := &Type{Name: nameOf(t), Size: int(t.Size()), Fields: []Field{}}
		for f := range t.Fields() {
			l.Fields = append(l.Fields, Field{f.Name, int(f.Offset), Of(f.Type)})
		}
		return l
	}
	return &Type{Name: nameOf(t), Size: int(t.Size())}
}

// nameOf returns a name that text can hold: a struct without a name gets one, and arguments of a generic type that
// are no names themselves are left out.
func nameOf(t reflect.Type) string {
	name := t.String()
	if t.Name() == "" && t.Kind() == reflect.Struct {
		return unnamed
	}
	if generic, _, ok := strings.Cut(name, "["); ok && strings.ContainsAny(name, "{\"` ") {
		return generic + "[...]"
	}
	return name
}

// sizes are those of the types that need none in text.
var sizes = map[string]int{
	"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
	"float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}

// Text returns the type as text of at most limit bytes. If there is more to say, the innermost structs have no fields
// in it; if even the name is too long, it is cut off and no type any more.
func (t *Type) Text(limit int) string {
	for depth := t.depth(); ; depth-- {
		var b strings.Builder
		t.write(&b, depth)
		if b.Len() <= limit || depth == 0 {
			return b.String()[:min(b.Len(), limit)]
		}
	}
}

// String returns the type as text, however long.
func (t *Type) String() string {
	var b strings.Builder
	t.write(&b, t.depth())
	return b.String()
}

// depth returns how many structs with known fields lie in each other.
func (t *Type) depth() (deepest int) {
	if t.Elem != nil {
		return t.Elem.depth()
	}
	if t.Fields == nil {
		return 0
	}
	for _, f := range t.Fields {
		deepest = max(deepest, f.Type.depth())
	}
	return deepest + 1
}

// write writes the fields of that many structs in each other.
func (t *Type) write(b *strings.Builder, depth int) {
	if t.Elem != nil {
		fmt.Fprintf(b, "[%d]", t.Len)
		t.Elem.write(b, depth)
		return
	}
	b.WriteString(t.Name)
	if sizes[t.Name] != t.Size || t.Fields != nil || t.Size == 0 {
		fmt.Fprintf(b, "/%d", t.Size)
	}
	if t.Fields == nil || depth == 0 {
		return
	}
	b.WriteByte('{')
	for i, f := range t.Fields {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Name + " ")
		f.Type.write(b, depth-1)
		fmt.Fprintf(b, " @%d", f.Offset)
	}
	b.WriteByte('}')
}

// Short returns the type's name without its package, "Worker" or "[4]int64".
func (t *Type) Short() string {
	if t.Elem != nil {
		return fmt.Sprintf("[%d]%s", t.Len, t.Elem.Short())
	}
	generic, arguments, _ := strings.Cut(t.Name, "[")
	short := t.Name[strings.LastIndexByte(generic, '.')+1 : len(generic)]
	if arguments != "" {
		short += "[" + arguments
	}
	return short
}
