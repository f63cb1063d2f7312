//go:build !unix

package running

import (
	"io/fs"
	"os"
)

// private trusts the system, whose directory for temporary files belongs to the user.
func private(fs.FileInfo) bool { return true }

// exists reports whether there is a process with that id.
func exists(process int) bool {
	p, err := os.FindProcess(process)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}
