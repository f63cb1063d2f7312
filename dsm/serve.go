package dsm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"pagemesh/pagetable/vm"
)

// server lets the programs of this machine attach to a node through a Unix socket.
type server struct {
	s  *node
	ln *net.UnixListener

	mu       sync.Mutex // guards what follows
	programs map[*program]struct{}
	shared   []*vm.Shared // the memory of all regions that programs map
	closed   bool
}

// listen opens the socket at path, for this user only. A socket that nobody listens on any more is
// replaced.
func listen(path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if conn, err := net.DialUnix("unix", nil, addr); err == nil {
		conn.Close()
		return nil, fmt.Errorf("a node serves programs at %s already: choose another socket", path)
	} else if st, statErr := os.Lstat(path); statErr == nil && st.Mode().Type() == os.ModeSocket {
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
	p := &program{
		s: v.s, conn: newAttachConn(conn), gone: make(chan struct{}), waits: map[uint64]context.CancelCauseFunc{},
		mutexes: map[uint64]*nodeMutex{}, holds: map[heldView]int{},
	}
	defer conn.Close()
	defer p.conn.dropDescriptors()
	peer, err := vm.PeerOf(conn)
	if err == nil && peer.UID != os.Geteuid() {
		err = fmt.Errorf("it belongs to user %d, this node to user %d", peer.UID, os.Geteuid())
	}
	if err == nil {
		p.peer = peer
		err = p.greet()
	}
	if err != nil {
		v.s.log.Warn("a program was turned away", "pid", peer.PID, "error", err)
		return
	}
	if !v.add(p) {
		p.trap.Close()
		return
	}
	p.pagers.Go(p.serveTraps)
	p.pagers.Go(p.startSampling)
	p.announce(true)
	p.greeted()

	p.end(p.serve())
	v.remove(p)
}

// add makes a program one whose mappings follow the rights of this node.
func (v *server) add(p *program) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.programs[p] = struct{}{}
	for _, mem := range v.shared {
		mem.Attach(p.trap)
	}
	return true
}

// remove forgets a program that has ended.
func (v *server) remove(p *program) {
	v.mu.Lock()
	delete(v.programs, p)
	shared := slices.Clone(v.shared)
	v.mu.Unlock()
	for _, mem := range shared {
		mem.Detach(p.trap)
	}
	if err := p.trap.Close(); err != nil {
		v.s.log.Warn("detaching a program failed", "pid", p.peer.PID, "error", err)
	}
	p.pagers.Wait()
	p.release()
	p.announce(false)
}

// share makes a region's memory one that programs may map.
func (v *server) share(mem *vm.Shared) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shared = append(v.shared, mem)
	for p := range v.programs {
		mem.Attach(p.trap)
	}
}

// close ends the service: every program loses its node.
func (v *server) close() error {
	v.mu.Lock()
	v.closed = true
	programs := v.programs
	v.mu.Unlock()
	err := v.ln.Close()
	for p := range programs {
		p.end(ErrClosed)
	}
	return err
}
