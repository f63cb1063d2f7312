// Package output prints lists of values as a table for people, as JSON, or as CSV.
//
// A list is described once, by its columns. A table shows the columns that have a title, with units and
// rounded; CSV holds every column under its name, exact and without units. JSON is the values' own
// encoding and doesn't know columns.
package output
