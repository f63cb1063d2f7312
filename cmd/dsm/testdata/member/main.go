// Command member is a program for the tests of dsm run: a member of a space that does what its first
// argument says.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"pagemesh/dsm"
	"pagemesh/pagetable"
)

// tasks are what a member can do. args are those behind the task's name.
var tasks = map[string]func(s *dsm.Space, args []string) error{
	"sum":   sum,
	"stdin": stdin,
	"exit":  exit,
	"kill":  kill,
	"wait":  wait,
	"deaf":  deaf,
	"fill":  fill,
	"check": check,
	"count": count,
	"lock":  lock,
	"race":  race,
}

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

func run(task string, args []string) error {
	cfg, err := dsm.ConfigFromEnv()
	if err != nil {
		return err
	}
	s, err := dsm.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(tasks[task](s, args), s.Close())
}

// together waits for all members.
func together(s *dsm.Space, name string) error {
	return s.Barrier(name, len(s.Members())).Wait(context.Background())
}

// sum adds up what every member has stored in a region.
func sum(s *dsm.Space, _ []string) error {
	r, err := s.Region(context.Background(), "sum", dsm.RegionOptions{Size: 4096})
	if err != nil {
		return err
	}
	if _, err := r.Add(context.Background(), 0, uint64(s.Rank()+1)); err != nil {
		return err
	}
	if err := together(s, "added"); err != nil {
		return err
	}
	total, err := r.Load(context.Background(), 0)
	if err != nil {
		return err
	}
	fmt.Printf("sum %d of %d members\n", total, len(s.Members()))
	return together(s, "read")
}

// stdin says what standard input holds.
func stdin(s *dsm.Space, _ []string) error {
	b, err := io.ReadAll(os.Stdin)
	fmt.Printf("read %q\n", b)
	return errors.Join(err, together(s, "read"))
}

// exit ends the rank given first with the status given second. The others wait for it.
func exit(s *dsm.Space, args []string) error {
	if strconv.Itoa(s.Rank()) == args[0] {
		status, _ := strconv.Atoi(args[1])
		os.Exit(status)
	}
	return together(s, "never")
}

// kill ends the rank given first by SIGKILL. The others wait for it.
func kill(s *dsm.Space, args []string) error {
	if strconv.Itoa(s.Rank()) == args[0] {
		return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), together(s, "never"))
	}
	return together(s, "never")
}

// wait stores a word in a region and waits for a signal.
func wait(s *dsm.Space, _ []string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	if err := sum(s, nil); err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid())
	fmt.Println("got", <-c)
	return nil
}

// deaf ignores the signals that ask it to end.
func deaf(s *dsm.Space, _ []string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("ready", os.Getpid())
	<-s.Done()
	select {}
}

// pattern is what fill and check agree on; its pages are homed at the node that fills them.
var pattern = bytes.Repeat([]byte("pagemesh"), 512)

const patternPages = 64

func patterned(s *dsm.Space) ([]byte, error) {
	home := dsm.Placement{Nodes: []pagetable.NodeID{s.Self()}}
	r, err := s.Region(context.Background(), "pattern", dsm.RegionOptions{Size: uint64(patternPages * len(pattern)), Placement: home})
	if err != nil {
		return nil, err
	}
	return r.Bytes()
}

// fill writes the pattern to every page, and then goes deaf.
func fill(s *dsm.Space, _ []string) error {
	b, err := patterned(s)
	if err != nil {
		return err
	}
	for page := range patternPages {
		copy(b[page*len(pattern):], pattern)
	}
	return deaf(s, nil)
}

// check reads the first page, and the others once standard input has ended. It looks at each for anything
// but the pattern.
func check(s *dsm.Space, _ []string) error {
	r, err := s.Region(context.Background(), "pattern", dsm.RegionOptions{})
	if err != nil {
		return err
	}
	b, err := r.Bytes()
	if err != nil {
		return err
	}
	private := make([]byte, len(pattern))
	for page := range patternPages {
		copy(private, b[page*len(pattern):])
		if !bytes.Equal(private, pattern) {
			fmt.Printf("page %d holds %q\n", page, private[:len("pagemesh")])
		}
		if page == 0 {
			fmt.Println("ready", os.Getpid())
			if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
				return err
			}
		}
	}
	fmt.Println("read all")
	return nil
}

// count counts one word up until an interrupt comes, and says how often it did and what the word is when
// all have ended.
func count(s *dsm.Space, _ []string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	r, err := s.Region(context.Background(), "count", dsm.RegionOptions{Size: 8})
	if err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid())
	own := 0
	for ; len(c) == 0; own++ {
		if _, err := r.Add(context.Background(), 0, 1); err != nil {
			return err
		}
	}
	if err := together(s, "counted"); err != nil {
		return err
	}
	total, err := r.Load(context.Background(), 0)
	fmt.Println("counted", own, "of", total)
	return errors.Join(err, together(s, "read"))
}
