package ipc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"sync"
)

// service is what both kinds of calls serve: items that come as the argument of a call.
type service struct {
	ln   net.Listener
	mu   sync.Mutex // guards what follows
	f    func(item []byte)
	left int
	done chan struct{} // closed when none is left
	open *sync.Cond    // f is set
}

func newService(dir string) (*service, error) {
	ln, err := listen(dir, "tcp")
	s := &service{ln: ln}
	s.open = sync.NewCond(&s.mu)
	return s, err
}

// take handles one item. The call's end is the acknowledgement.
func (s *service) take(item []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.left == 0 {
		s.open.Wait()
	}
	s.f(item)
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

func (s *service) Serve(n int, _ []byte, f func(item []byte)) error {
	s.mu.Lock()
	s.f, s.left, s.done = f, n, make(chan struct{})
	done := s.done
	s.open.Broadcast()
	s.mu.Unlock()
	<-done
	return nil
}

func (s *service) Send([]byte) error { return errServes }

func (s *service) Close() error { return s.ln.Close() }

// Items is the service of net/rpc.
type Items struct{ s *service }

// Take takes an item.
func (i Items) Take(item []byte, ack *bool) error {
	i.s.take(item)
	*ack = true
	return nil
}

func listenRPC(dir string) (Link, error) {
	s, err := newService(dir)
	if err != nil {
		return nil, err
	}
	server := rpc.NewServer()
	if err := server.Register(Items{s}); err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := s.ln.Accept()
			if err != nil {
				return // closed
			}
			go server.ServeConn(conn)
		}
	}()
	return s, nil
}

// rpcClient is the end of net/rpc that sends.
type rpcClient struct{ *rpc.Client }

func dialRPC(dir string) (Link, error) {
	conn, err := dial(dir, "tcp")
	if err != nil {
		return nil, err
	}
	return rpcClient{rpc.NewClient(conn)}, nil
}

func (c rpcClient) Send(item []byte) error {
	var ack bool
	return c.Call("Items.Take", item, &ack)
}

var (
	errSends  = errors.New("this end sends")
	errServes = errors.New("this end serves")
)

func (c rpcClient) Serve(int, []byte, func([]byte)) error { return errSends }

func listenREST(dir string) (Link, error) {
	s, err := newService(dir)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items", func(w http.ResponseWriter, req *http.Request) {
		item, err := io.ReadAll(io.LimitReader(req.Body, MaxItem))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.take(item)
		w.WriteHeader(http.StatusNoContent)
	})
	go func() { _ = http.Serve(s.ln, mux) }() // ends when ln is closed
	return s, nil
}

// restClient is the end of HTTP that sends.
type restClient struct {
	url    string
	client http.Client
}

func dialREST(dir string) (Link, error) {
	conn, err := dial(dir, "tcp") // to learn the address
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return &restClient{url: "http://" + conn.RemoteAddr().String() + "/items"}, nil
}

func (c *restClient) Send(item []byte) error {
	answer, err := c.client.Post(c.url, "application/octet-stream", bytes.NewReader(item))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("post item: %s", answer.Status)
	}
	return nil
}

func (c *restClient) Serve(int, []byte, func([]byte)) error { return errSends }

func (c *restClient) Close() error {
	c.client.CloseIdleConnections()
	return nil
}
