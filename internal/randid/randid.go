// Package randid makes the random numbers that tell two writes apart, and the
// random texts that cannot be guessed.
package randid

import (
	"crypto/rand"
	"encoding/binary"
)

// New returns a random number that is not zero: zero stands for "none".
func New() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails; see crypto/rand
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// Text returns a random text that cannot be guessed: 128 bits or more in base32.
func Text() string { return rand.Text() }
