package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A file is fileStart, and then chunks, each after its length in four bytes, big-endian. Zero ends it. One
// that was cut off is good up to the last whole chunk.

// fileStart names the format and its version. Readers refuse other versions.
const fileStart = "pagemesh trace 1\n"

var (
	// ErrFormat is returned for a file that is no trace, or of another version.
	ErrFormat = errors.New("not a trace of this version")
	// ErrCut is returned at the end of a trace that its writer has not finished. What came before is good.
	ErrCut = errors.New("the trace is cut off")
)

// Writer writes a file.
type Writer struct {
	w     *bufio.Writer
	codec *Codec
}

// NewWriter begins a file.
func NewWriter(w io.Writer) (*Writer, error) {
	fw := &Writer{bufio.NewWriter(w), NewCodec()}
	if _, err := fw.w.WriteString(fileStart); err != nil {
		return nil, fmt.Errorf("trace: write: %w", err)
	}
	return fw, nil
}

// Write adds a chunk of any length. Once it has returned, whoever reads the file gets all of it.
func (w *Writer) Write(ch *Chunk) error {
	for rest := *ch; ; {
		one, more := rest.cut()
		if err := w.frame(w.codec.Encode(&one)); err != nil {
			return err
		}
		if !more {
			return w.flush()
		}
	}
}

// cut takes the first part of a chunk that may be encoded, and reports whether there is more.
func (c *Chunk) cut() (Chunk, bool) {
	one := Chunk{
		c.Until, take(&c.Clocks, MaxNames), take(&c.Regions, MaxNames), take(&c.Sites, MaxNames), take(&c.Locks, MaxNames),
		take(&c.Lost, MaxNames), take(&c.Events, MaxEvents),
	}
	return one, len(c.Clocks)+len(c.Regions)+len(c.Sites)+len(c.Locks)+len(c.Lost)+len(c.Events) > 0
}

func take[T any](list *[]T, most int) []T {
	n := min(len(*list), most)
	first := (*list)[:n:n]
	*list = (*list)[n:]
	return first
}

func (w *Writer) frame(b []byte) error {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(b)))
	_, _ = w.w.Write(length[:]) // the next write returns its error
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("trace: write: %w", err)
	}
	return nil
}

func (w *Writer) flush() error {
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("trace: write: %w", err)
	}
	return nil
}

// Close ends the file. It does not close what the file is written to.
func (w *Writer) Close() error {
	if err := w.frame(nil); err != nil {
		return err
	}
	return w.flush()
}

// Reader reads a file.
type Reader struct {
	r     *bufio.Reader
	codec *Codec
	err   error // of the first Next that failed
}

// NewReader begins to read a file. The error is ErrFormat if it is none.
func NewReader(r io.Reader) (*Reader, error) {
	fr := &Reader{r: bufio.NewReader(r), codec: NewCodec()}
	start := make([]byte, len(fileStart))
	if _, err := io.ReadFull(fr.r, start); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("trace: read: %w", err)
	}
	if string(start) != fileStart {
		return nil, fmt.Errorf("trace: %w: it begins with %q, want %q", ErrFormat, start, fileStart)
	}
	return fr, nil
}

// Next returns the next chunk, or io.EOF at the end, ErrCut if there is none, or what is wrong with the file.
func (r *Reader) Next() (Chunk, error) {
	if r.err != nil {
		return Chunk{}, r.err
	}
	ch, err := r.next()
	r.err = err
	return ch, err
}

func (r *Reader) next() (Chunk, error) {
	var length [4]byte
	if _, err := io.ReadFull(r.r, length[:]); err != nil {
		return Chunk{}, cutOff(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	switch {
	case n == 0:
		return Chunk{}, io.EOF
	case n > MaxChunk:
		return Chunk{}, fmt.Errorf("trace: chunk of %d bytes, at most %d are allowed", n, MaxChunk)
	}
	b, err := io.ReadAll(io.LimitReader(r.r, int64(n))) // memory grows with what is there
	if err == nil && len(b) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Chunk{}, cutOff(err)
	}
	return r.codec.Decode(b)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return fmt.Errorf("trace: read: %w", err)
}
