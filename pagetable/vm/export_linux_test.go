//go:build amd64 || arm64

package vm

// ExplainFeatures gives the tests what a kernel would have to lack.
var ExplainFeatures = explainFeatures
