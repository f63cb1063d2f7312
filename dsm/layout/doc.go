// Package layout names the bytes of Go values: offset 8 of a []Worker is []Worker[0].hits.
//
// A Type is what reflection says of how a type lies in memory. It has a form as text, which goes from the program that
// knows the type to whoever looks at its pages:
//
//	main.Worker/24{hits int64 @0; last [2]struct/4{at float32 @0} @8; state main.State/1 @16}
//
// A struct has its name, its size, and its fields with their offsets; one without a name is called struct. The types
// that Go itself gives names are just that, others that are no struct have a size.
package layout
