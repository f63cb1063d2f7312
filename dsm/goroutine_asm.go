//go:build amd64 || arm64

package dsm

const hasDescriptor = true

// descriptorWord returns word i of the runtime's descriptor of this goroutine.
func descriptorWord(i int) uint64
