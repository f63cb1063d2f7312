//go:build !amd64 && !arm64

package dsm

const hasDescriptor = false

func descriptorWord(int) uint64 { return 0 }
