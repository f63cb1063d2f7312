package dsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pagemesh/dsm"
)

const lostPages = 16

func init() {
	// lost touches pages that can't be had, the first n under a guard, in each way, and then one without.
	programs["lost"] = func(ctx context.Context, p *testProgram) error {
		b, err := p.bytes(ctx, "lost", lostPages*pageSize)
		if err != nil {
			return err
		}
		defer collectGarbage()()
		private := make([]byte, pageSize)
		for page := range p.n {
			part := b[page*pageSize:][:pageSize]
			err := p.Guard(func() error {
				switch page % 4 {
				case 0:
					copy(private, part)
				case 1:
					part[17]++
				case 2:
					clear(part)
				case 3:
					if !bytes.Equal(private, part) {
						return errors.New("never reached")
					}
				}
				return errors.New("never reached")
			})
			want := fmt.Sprintf(`page %d of region "lost"`, page)
			if !errors.Is(err, dsm.ErrNodeLost) || !contains(err, want) || !contains(err, fmt.Sprintf("address %p", part)[:len("address 0x400000000")]) {
				return failure("a guarded access", err, want)
			}
		}
		err = p.Guard(func() error { // the node can read this one, but not write it
			b[len(b)-1] = 1
			return nil
		})
		if !errors.Is(err, dsm.ErrNodeLost) {
			return failure("a write to what can only be read", err, dsm.ErrNodeLost)
		}
		fmt.Println("guarded")
		copy(private, b[p.n*pageSize:])
		return failure("an unguarded copy", private[0], "no way on")
	}
	// starved touches a page that its node has no room for, and later has.
	programs["starved"] = func(ctx context.Context, p *testProgram) error {
		b, err := p.bytes(ctx, "large", 2<<20)
		if err != nil {
			return err
		}
		write := func() error {
			return p.Guard(func() error {
				b[len(b)-1]++
				return nil
			})
		}
		for range 3 {
			if err := write(); !errors.Is(err, dsm.ErrMemory) || !contains(err, `page 511 of region "large"`) {
				return failure("without room", err, dsm.ErrMemory)
			}
		}
		for _, b := range []string{"refused", "freed"} {
			if err := p.Barrier(b, 2).Wait(ctx); err != nil {
				return err
			}
		}
		if err := write(); err != nil || b[len(b)-1] != 1 {
			return failure("with room", err, nil)
		}
		return nil
	}
}

func TestLostPagesOfPrograms(t *testing.T) {
	spaces, sockets := serving(t, 2)
	regions := openRegions(t, spaces, "lost", dsm.RegionOptions{Size: lostPages * pageSize, Placement: homed(spaces[1])})
	const last = lostPages*pageSize - 8
	if err := regions[1].Store(patient(t), last, 4711); err != nil {
		t.Fatal(err)
	}
	if _, err := regions[0].Load(patient(t), last); err != nil {
		t.Fatal(err)
	}
	if err := spaces[1].Close(); err != nil {
		t.Fatal(err)
	}
	const guarded = 8
	cmd := startPrograms(t, "lost", sockets[:1], guarded)[0]
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("the program ends with %v, want the Go runtime's status 2", err)
	}
	if out := cmd.Stdout.(*bytes.Buffer).String(); out != "guarded\n" {
		t.Errorf("it says %q", out)
	}
	if v, err := regions[0].Load(patient(t), last); v != 4711 || err != nil {
		t.Errorf("the node's copy of a lost page holds %d, %v", v, err)
	}
	said := cmd.Stderr.(*bytes.Buffer).String()
	want := fmt.Sprintf("pagemesh: page %d of region %q: node lost: its home or its last copy went down with a node: "+
		"an access outside Space.Guard ends this program\nunexpected fault address", guarded, "lost")
	if !strings.Contains(said, want) {
		t.Errorf("it ends with\n%.800s\nwant %s", said, want)
	}
}

// TestPagesWithoutRoomAreAnError: the node's room is taken by a view. When it ends, the page can be had.
func TestPagesWithoutRoomAreAnError(t *testing.T) {
	const limit = 1 << 20
	spaces, sockets := servingWith(t, 2, dsm.Config{MemoryLimit: limit})
	r := openRegions(t, spaces, "large", dsm.RegionOptions{Size: 2 * limit, Placement: homed(spaces[0])})
	v, err := r[1].View(patient(t), 0, limit, read)
	if err != nil {
		t.Fatal(err)
	}
	cmd := startPrograms(t, "starved", sockets[1:], 0)[0]
	if err := spaces[1].Barrier("refused", 2).Wait(patient(t)); err != nil {
		t.Error(err)
	}
	v.Release()
	if err := spaces[1].Barrier("freed", 2).Wait(patient(t)); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err, cmd.Stderr)
	}
}
