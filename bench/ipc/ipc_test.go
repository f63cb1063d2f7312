package ipc

import (
	"bytes"
	"errors"
	"testing"
)

// TestKinds: every item arrives as it was sent, and is acknowledged only then.
func TestKinds(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			dir := t.TempDir()
			server, err := k.Listen(dir)
			if errors.Is(err, ErrNotSupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closeLink(t, server)
			client, err := k.Dial(dir)
			if k.Bare && err != nil {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closeLink(t, client)
			for _, size := range []int{1, 64, 4096, 5000, MaxItem} {
				exchange(t, server, client, size)
			}
		})
	}
}

func closeLink(t *testing.T, l Link) {
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// exchange sends three items that differ.
func exchange(t *testing.T, server, client Link, size int) {
	const n = 3
	served := make(chan error, 1)
	taken := make(chan []byte, n)
	go func() {
		served <- server.Serve(n, make([]byte, size), func(item []byte) { taken <- bytes.Clone(item) })
	}()
	for i := range n {
		item := bytes.Repeat([]byte{byte(i + 1)}, size)
		if err := client.Send(item); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-taken:
			if !bytes.Equal(got, item) {
				t.Errorf("item %d of %d bytes came as one of %d that is not the same", i, size, len(got))
			}
		default:
			t.Fatalf("item %d of %d bytes was acknowledged before it came", i, size)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestCounter(t *testing.T) {
	for _, k := range Kinds() {
		dir := t.TempDir()
		server, err := k.Listen(dir)
		if err != nil {
			continue // TestKinds says why
		}
		defer closeLink(t, server)
		a, counts := server.(Counter)
		if !counts {
			continue
		}
		client, err := k.Dial(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer closeLink(t, client)
		a.Add(2)
		if sum := client.(Counter).Add(3); sum != 5 {
			t.Errorf("%s: 2 and 3 add up to %d", k.Name, sum)
		}
	}
}
