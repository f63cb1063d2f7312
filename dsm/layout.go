package dsm

import (
	"fmt"
	"reflect"
	"strings"

	"pagemesh/pagetable"
)

// layoutOf describes a type for pagetable.Region.Layout: its name and size, and of a struct the place of
// every field, "main.Stats/16{hits int64 @0; misses int64 @8}".
func layoutOf(t reflect.Type) string {
	var b strings.Builder
	describe(&b, t)
	return b.String()[:min(b.Len(), pagetable.MaxLayoutLen)]
}

func describe(b *strings.Builder, t reflect.Type) {
	switch {
	case t.Kind() == reflect.Struct:
		fmt.Fprintf(b, "%s/%d{", t, t.Size())
		for i := range t.NumField() {
			if i > 0 {
				b.WriteString("; ")
			}
			f := t.Field(i)
			b.WriteString(f.Name + " ")
			describe(b, f.Type)
			fmt.Fprintf(b, " @%d", f.Offset)
		}
		b.WriteString("}")
	case t.Kind() == reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem())
	default:
		b.WriteString(t.String())
	}
}
