package layout

import (
	"fmt"
	"strings"
)

// Path returns what lies at byte off of a value, as a Go program would select it: ".pos[2].x", "" for a value that is
// no struct and no array. Bytes of no field are ".(padding)", and bytes that the Type does not tell apart have their
// offset, ".state+4". Preconditions: 0 <= off < t.Size.
func (t *Type) Path(off int) string {
	var b strings.Builder
	for {
		switch {
		case t.Elem != nil:
			fmt.Fprintf(&b, "[%d]", off/t.Elem.Size)
			off %= t.Elem.Size
			t = t.Elem
			continue
		case t.Fields != nil:
			f := t.field(off)
			if f == nil || f.Name == "_" {
				b.WriteString(".(padding)")
				return b.String()
			}
			b.WriteString("." + f.Name)
			off -= f.Offset
			t = f.Type
			continue
		case off > 0 && sizes[t.Name] == 0 && t.Size > maxNumber:
			fmt.Fprintf(&b, "+%d", off)
		}
		return b.String()
	}
}

// maxNumber is the size of the largest number: what is larger and has no fields is a struct whose fields were left
// out.
const maxNumber = 16

// field returns the field that has byte off, nil if none has.
func (t *Type) field(off int) *Field {
	for i := range t.Fields {
		if f := &t.Fields[i]; off >= f.Offset && off < f.Offset+f.Type.Size {
			return f
		}
	}
	return nil
}
