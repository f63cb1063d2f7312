package ipc

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
)

// stream is a Link of two streams of bytes, there and back. An acknowledgement is one byte.
type stream struct {
	in     io.Reader
	out    io.Writer
	closes []io.Closer
	// accept, if not nil, is called before the first item to complete the link.
	accept func(s *stream) error
}

func (s *stream) Send(item []byte) error {
	if _, err := s.out.Write(item); err != nil {
		return err
	}
	var ack [1]byte
	_, err := io.ReadFull(s.in, ack[:])
	return err
}

func (s *stream) Serve(n int, item []byte, f func(item []byte)) error {
	if s.accept != nil {
		if err := s.accept(s); err != nil {
			return err
		}
		s.accept = nil
	}
	for range n {
		if _, err := io.ReadFull(s.in, item); err != nil {
			return err
		}
		f(item)
		if _, err := s.out.Write([]byte{1}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) Close() error {
	var errs []error
	for _, c := range s.closes {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// listenSocket returns the Listen of a kind of sockets.
func listenSocket(network string) func(dir string) (Link, error) {
	return func(dir string) (Link, error) {
		ln, err := listen(dir, network)
		if err != nil {
			return nil, err
		}
		return &stream{closes: []io.Closer{ln}, accept: func(s *stream) error {
			conn, err := ln.Accept()
			s.in, s.out = conn, conn
			if err == nil {
				s.closes = append(s.closes, conn)
			}
			return err
		}}, nil
	}
}

func dialSocket(network string) func(dir string) (Link, error) {
	return func(dir string) (Link, error) {
		conn, err := dial(dir, network)
		if err != nil {
			return nil, err
		}
		return &stream{in: conn, out: conn, closes: []io.Closer{conn}}, nil
	}
}

// listen listens at an address of this machine that it leaves in dir for dial.
func listen(dir, network string) (net.Listener, error) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(dir, "socket")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return ln, os.WriteFile(filepath.Join(dir, network), []byte(ln.Addr().String()), 0o600)
}

func dial(dir, network string) (net.Conn, error) {
	addr, err := os.ReadFile(filepath.Join(dir, network))
	if err != nil {
		return nil, err
	}
	return net.Dial(network, string(addr))
}
