package launch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// maxLine is the longest line in bytes, without prefix and newline, that comes out in one piece.
const maxLine = 64 << 10

// pipe is the two ends of one output stream of a copy.
type pipe struct{ r, w *os.File }

// output is what one copy writes.
type output struct {
	stdout, stderr pipe
	readers        sync.WaitGroup
	ended          chan struct{} // closed when both streams have ended
}

func newOutput() (*output, error) {
	o := &output{ended: make(chan struct{})}
	var err error
	if o.stdout.r, o.stdout.w, err = os.Pipe(); err != nil {
		return nil, err
	}
	if o.stderr.r, o.stderr.w, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, o.stdout.r.Close(), o.stdout.w.Close())
	}
	return o, nil
}

// closeWriters closes this process's copies of the writing ends: the pipes end with the group.
func (o *output) closeWriters() {
	_ = o.stdout.w.Close()
	_ = o.stderr.w.Close()
}

func (o *output) closeReaders() {
	_ = o.stdout.r.Close()
	_ = o.stderr.r.Close()
}

// read starts the goroutines that bring the copy's lines to the sinks.
func (o *output) read(rank int, stdout, stderr *lineSink) {
	o.readers.Go(func() { stdout.copyLines(rank, o.stdout.r) })
	o.readers.Go(func() { stderr.copyLines(rank, o.stderr.r) })
	go func() {
		o.readers.Wait()
		close(o.ended)
	}()
}

// wait waits until everything written has been read, at most that long: a process that has left the
// group may hold the pipes open for ever.
func (o *output) wait(most time.Duration) {
	deadline := time.Now().Add(most)
	// Where pipes have no deadlines the wait has no bound.
	_ = o.stdout.r.SetReadDeadline(deadline)
	_ = o.stderr.r.SetReadDeadline(deadline)
	<-o.ended
	o.closeReaders()
}

// lineSink is where the lines of all copies come together.
type lineSink struct {
	mu   sync.Mutex
	w    io.Writer // guarded by mu
	line []byte    // the line being put together; guarded by mu
}

// copyLines writes what r delivers until it ends, line by line. A line longer than maxLine is cut into
// several; a last line without newline gets one.
func (s *lineSink) copyLines(rank int, r io.Reader) {
	prefix := "[" + strconv.Itoa(rank) + "] "
	lines := bufio.NewReaderSize(r, maxLine)
	for cut := false; ; {
		line, err := lines.ReadSlice('\n')
		text := bytes.TrimSuffix(line, []byte("\n"))
		if len(text) > 0 || len(line) > 0 && !cut {
			s.write(prefix, text)
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			return
		}
	}
}

// write writes one line. That the reader of our output is gone must not stop the copies' own: the
// error is dropped, and the copies go on.
func (s *lineSink) write(prefix string, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = append(s.line[:0], prefix...)
	s.line = append(s.line, line...)
	s.line = append(s.line, '\n')
	_, _ = s.w.Write(s.line)
}
