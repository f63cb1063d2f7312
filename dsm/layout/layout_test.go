package layout_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pagemesh/dsm/layout"
)

type state uint8

type point struct {
	X float32
	_ [4]byte
	Y float64
}

type pair[A, B any] struct {
	First  A
	Second B
}

type worker struct {
	Hits  int64
	State state
	Pos   [3]point
	point
	Last pair[int32, state]
	Name [12]byte
	None struct{}
}

// scalars are the types that have no parts.
var scalars = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[int32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[int](), reflect.TypeFor[uintptr](), reflect.TypeFor[float32](), reflect.TypeFor[complex128](), reflect.TypeFor[state](),
}

// drawType returns a type of at most that many levels.
func drawType(t *rapid.T, depth int) reflect.Type {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind == 9:
		return rapid.SampledFrom([]reflect.Type{reflect.TypeFor[worker](), reflect.TypeFor[point](), reflect.TypeFor[pair[state, point]]()}).Draw(t, "named")
	case depth > 0 && kind > 6:
		return reflect.ArrayOf(rapid.IntRange(0, 4).Draw(t, "length"), drawType(t, depth-1))
	case depth > 0 && kind > 2:
		var fields []reflect.StructField
		for i := range rapid.IntRange(0, 5).Draw(t, "fields") {
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: drawType(t, depth-1)})
		}
		return reflect.StructOf(fields)
	}
	return rapid.SampledFrom(scalars).Draw(t, "scalar")
}

// walk writes the name of each byte of a value into names, which begin at its first byte.
func walk(t reflect.Type, names []string, path string) {
	switch t.Kind() {
	case reflect.Array:
		for i := range t.Len() {
			walk(t.Elem(), names[i*int(t.Elem().Size()):], fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Struct:
		for i := range int(t.Size()) {
			names[i] = path + ".(padding)"
		}
		for f := range t.Fields() {
			if f.Name != "_" {
				walk(f.Type, names[f.Offset:], path+"."+f.Name)
			}
		}
	default:
		for i := range int(t.Size()) {
			names[i] = path
		}
	}
}

// TestPathAgreesWithReflection: for every byte of a type, also after it went through text.
func TestPathAgreesWithReflection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 4)
		want := make([]string, typ.Size())
		walk(typ, want, "")
		text := layout.Of(typ).String()
		back, err := layout.Parse(text)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if !reflect.DeepEqual(back, layout.Of(typ)) || back.String() != text {
			t.Fatalf("%v is %s, and then %s", typ, text, back)
		}
		for off, name := range want {
			if got := back.Path(off); got != name {
				t.Fatalf("byte %d of %v is %q, want %q", off, typ, got, name)
			}
		}
	})
}

// TestTextFits: whatever the limit, what is left is a type of the same size whose names are beginnings of the true
// ones, or no type.
func TestTextFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := layout.Of(drawType(t, 4))
		limit := rapid.IntRange(0, 200).Draw(t, "limit")
		text := typ.Text(limit)
		if len(text) > limit {
			t.Fatalf("%d bytes: %s", len(text), text)
		}
		short, err := layout.Parse(text)
		if err != nil {
			if len(text) < limit {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for off := range min(typ.Size, short.Size) {
			name, _, _ := strings.Cut(short.Path(off), "+")
			if short.Size == typ.Size && !strings.HasPrefix(typ.Path(off), name) {
				t.Fatalf("byte %d is %q, shortened %q", off, typ.Path(off), short.Path(off))
			}
		}
	})
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		typ         reflect.Type
		text, short string
	}{
		{reflect.TypeFor[int64](), "int64", "int64"},
		{reflect.TypeFor[int](), "int/8", "int"},
		{reflect.TypeFor[state](), "layout_test.state/1", "state"},
		{reflect.TypeFor[[2][3]uint16](), "[2][3]uint16", "[2][3]uint16"},
		{reflect.TypeFor[struct{ A, B int32 }](), "struct/8{A int32 @0; B int32 @4}", "struct"},
		{reflect.TypeFor[struct{}](), "struct/0{}", "struct"},
		{reflect.TypeFor[point](), "layout_test.point/16{X float32 @0; _ [4]uint8 @4; Y float64 @8}", "point"},
		{reflect.TypeFor[pair[int32, state]](), "layout_test.pair[int32,pagemesh/dsm/layout_test.state]/8{First int32 @0; Second layout_test.state/1 @4}",
			"pair[int32,pagemesh/dsm/layout_test.state]"},
		{reflect.TypeFor[pair[struct{ A int8 }, bool]](), "layout_test.pair[...]/2{First struct/1{A int8 @0} @0; Second bool @1}", "pair[...]"},
	} {
		l := layout.Of(test.typ)
		if l.String() != test.text || l.Short() != test.short {
			t.Errorf("%v is %s, short %s", test.typ, l, l.Short())
		}
		if _, err := layout.Parse(test.text); err != nil {
			t.Error(err)
		}
	}
}

func TestNames(t *testing.T) {
	text := layout.Of(reflect.TypeFor[worker]()).String()
	size := uint64(reflect.TypeFor[worker]().Size())
	names := layout.NamesOf([]layout.Range{
		{Start: 1 << 20, End: 1<<20 + 4*size, Stride: size, Type: text},
		{Start: 1 << 21, End: 1<<21 + 1<<12, Stride: 128, Type: text, Heap: true},
		{Start: 1<<21 + 1<<12, End: 1<<21 + 1<<13, Stride: 64, Type: "layout_test.point/16{X float32 @0; Y float64 @8}", Heap: true},
		{Start: 1 << 22, End: 1<<22 + 800, Stride: 8, Type: "float64"},
		{Start: 1 << 23, End: 1<<23 + 800, Stride: 8, Type: "what/24{"},
		{Start: 1 << 23, End: 1<<23 + 800, Stride: 4, Type: "int64"},
	})
	for _, test := range []struct {
		start, end uint64
		want       string
	}{
		{1 << 20, 1<<20 + 8, "[]worker[0].Hits"},
		{1<<20 + 3, 1<<20 + 5, "[]worker[0].Hits"},
		{1<<20 + 3*size + 24, 1<<20 + 3*size + 32, "[]worker[3].Pos[0].Y"},
		{1<<20 + 3*size, 1<<20 + 3*size + 9, "[]worker[3].Hits to .State"},
		{1<<20 + size, 1<<20 + 2*size + 8, "[]worker[1].Hits to []worker[2].Hits"},
		{1<<20 + 4*size, 1<<20 + 4*size + 8, ""},
		{1<<20 - 8, 1 << 20, ""},
		{1<<21 + 128 + 8, 1<<21 + 128 + 9, "worker@2097280.State"},
		{1<<21 + 1<<12 + 64 + 24, 1<<21 + 1<<12 + 64 + 32, "[]point@2101312[1].Y"},
		{1<<21 + 8, 1<<21 + 1<<12 + 4, "worker@2097152.State to []point@2101248[0].X"},
		{1 << 22, 1<<22 + 8, "[]float64[0]"},
		{1<<22 + 16, 1<<22 + 80, "[]float64[2:10]"},
		{1 << 23, 1<<23 + 8, ""},
	} {
		if got := names.Span(test.start, test.end); got != test.want {
			t.Errorf("[%d,%d) is %q, want %q", test.start, test.end, got, test.want)
		}
	}
}

// FuzzParse: any text is a type that can be used, or an error.
func FuzzParse(f *testing.F) {
	f.Add(layout.Of(reflect.TypeFor[worker]()).String(), 9)
	f.Add("[9223372036854775807][3]int8", 0)
	f.Add(strings.Repeat("[1]", 3000)+"int8", 0)
	f.Add("a[/{}]/8{x int64 @0}", 4)
	f.Add("s/8{x int64 @4}", 4)
	f.Fuzz(func(t *testing.T, text string, off int) {
		typ, err := layout.Parse(text)
		if err != nil {
			return
		}
		if off >= 0 && off < typ.Size {
			typ.Path(off)
		}
		again, err := layout.Parse(typ.String())
		if err != nil || !reflect.DeepEqual(again, typ) {
			t.Fatalf("%q is %v and then %v: %v", text, typ, again, err)
		}
	})
}
