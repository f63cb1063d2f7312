//go:build !unix

package transport

import "net"

// reader reads a connection.
type reader struct{ *net.TCPConn }

func (r *reader) init(conn *net.TCPConn) error {
	r.TCPConn = conn
	return nil
}

// attempter stands in for one non-blocking write where there is none: it takes nothing, and so leaves
// everything to the background writer.
type attempter struct{}

func (*attempter) init(*net.TCPConn) error { return nil }

func (*attempter) write([]byte) (int, error) { return 0, nil }
