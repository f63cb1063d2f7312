package dsm

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"pagemesh/pagetable/vm"
)

// server lets the programs of this machine attach to a node through a Unix socket.
type server struct {
	s    *node
	ln   *net.UnixListener
	mode vm.Mode // what of a program can be trapped

	mu       sync.Mutex        // guards what follows
	programs map[*program]bool // every connection; true: the program is attached
	shared   []*vm.Shared      // the memory of all regions that programs map
	closed   bool
}

// maxSocketPath is the longest path of a Unix socket that every system takes, in bytes.
const maxSocketPath = 103

func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: the path has %d bytes, at most %d are allowed: choose a shorter one", path, len(path), maxSocketPath)
	}
	return nil
}

// listen opens the socket at path, for this user only. A socket that nobody listens on any more is
// replaced.
func listen(path string) (*net.UnixListener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	conn, err := net.DialUnix("unix", nil, addr)
	st, statErr := os.Lstat(path)
	switch {
	case err == nil:
		conn.Close()
		return nil, fmt.Errorf("a node serves programs at %s already: choose another socket", path)
	case statErr != nil: // nothing is there, or listening says what is wrong
	case st.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("serve programs at %s: a file that is no socket lies there: choose another path", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		_ = os.Remove(path) // if it can't be removed, listening says why
	}
	ln, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, fmt.Errorf("serve programs at %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("serve programs: %w", err), ln.Close())
	}
	return ln, nil
}

// accept takes programs until the socket is closed.
func (v *server) accept() {
	for {
		conn, err := v.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			v.s.log.Warn("accepting a program failed", "error", err)
			select {
			case <-time.After(retryPause):
			case <-v.s.done:
			}
			continue
		}
		v.s.running.Go(func() { v.serve(conn) })
	}
}

// serve is the life of one program's connection.
func (v *server) serve(conn *net.UnixConn) {
	p := newProgram(v.s, conn)
	defer conn.Close()
	defer p.conn.dropDescriptors()
	if !v.enter(p) {
		return
	}
	defer p.closeStderr()
	defer v.forget(p)
	if err := p.greet(); err != nil {
		v.s.log.Warn("a program was turned away", "pid", p.peer.PID, "error", err)
		return
	}
	v.attach(p)
	p.pagers.Go(p.serveTraps)
	if v.s.races.on {
		p.startSampling() // no write may be without its line
	} else {
		p.pagers.Go(p.startSampling)
	}
	p.announce(true)
	p.greeted()

	p.end(p.serve())
	v.detach(p)
	p.release()
	p.announce(false)
}

// enter takes up a connection, unless the service has ended.
func (v *server) enter(p *program) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.programs[p] = false
	}
	return !v.closed
}

func (v *server) forget(p *program) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.programs, p)
}

// attach makes a program one whose mappings follow the rights of this node.
func (v *server) attach(p *program) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.programs[p] = true
	for _, mem := range v.shared {
		mem.Attach(p.trap)
	}
}

// detach ends that, when the program has ended.
func (v *server) detach(p *program) {
	v.mu.Lock()
	v.programs[p] = false
	for _, mem := range v.shared {
		mem.Detach(p.trap)
	}
	v.mu.Unlock()
	if err := p.trap.Close(); err != nil {
		v.s.log.Warn("detaching a program failed", "pid", p.peer.PID, "error", err)
	}
	p.pagers.Wait()
}

// share makes a region's memory one that programs may map.
func (v *server) share(mem *vm.Shared) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shared = append(v.shared, mem)
	for p, attached := range v.programs {
		if attached {
			mem.Attach(p.trap)
		}
	}
}

// close ends the service: every program loses its node.
func (v *server) close() error {
	v.mu.Lock()
	v.closed = true
	programs := slices.Collect(maps.Keys(v.programs))
	v.mu.Unlock()
	err := v.ln.Close()
	for _, p := range programs {
		p.end(ErrClosed)
	}
	return err
}
