package output

import (
	"fmt"
	"strconv"
	"time"
)

// Bytes returns n with a unit, to three digits: "1.5 MiB".
func Bytes(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 999.5 && u < len(units)-1 {
		v /= 1024
		u++
	}
	return fmt.Sprintf("%s %ciB", digits(v), units[u])
}

// Duration returns d with a unit, to three digits: "12.3 ms".
func Duration(d time.Duration) string {
	switch v := float64(d); {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case v < 999.5e3:
		return digits(v/1e3) + " µs"
	case v < 999.5e6:
		return digits(v/1e6) + " ms"
	case v < 99.95e9:
		return digits(v/1e9) + " s"
	}
	return d.Round(time.Second).String()
}

// digits returns v, at least 1, to three digits.
func digits(v float64) string {
	decimals := 2
	for limit := 9.995; v >= limit && decimals > 0; limit *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// Count returns n with its digits in groups of three: "1,234,567".
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Number returns n with the noun that it counts: "1 word", "1,234 words".
func Number(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Count(n) + " " + noun
}
