//go:build unix

package running

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// private reports whether only this user can use the file.
func private(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid() && info.Mode().Perm()&0o077 == 0
}

// exists reports whether there is a process with that id.
func exists(process int) bool {
	return process > 0 && !errors.Is(syscall.Kill(process, 0), syscall.ESRCH)
}
