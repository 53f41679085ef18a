// Package qr draws QR codes of short texts: bytes at error correction level Q,
// in versions 1 to 20, which hold 482 bytes. A link to a virtual key needs 35
// to 90 of them. Level Q still reads with a quarter of the code covered.
//
// It follows ISO/IEC 18004 and exists so that nobody who uses the module has to
// download an encoder.
package qr

import "errors"

// ErrTooLong says that no supported version holds the text.
var ErrTooLong = errors.New("qr: the text is too long")

// A Code is a square of modules, without the quiet zone of 4 modules that has
// to surround it.
type Code struct {
	Size    int // modules per side
	version int
	black   []bool
	fixed   []bool // what the mask does not touch
}

// Black reports whether a module is black; outside of the code none is.
func (c *Code) Black(x, y int) bool {
	return 0 <= x && x < c.Size && 0 <= y && y < c.Size && c.black[y*c.Size+x]
}

const maxVersion = 20

// eccPerBlock and blockCount are the rows of level Q, by version.
var eccPerBlock = [...]int{0, 13, 22, 18, 26, 18, 24, 18, 22, 20, 24, 28, 26, 24, 20, 30, 24, 28, 28, 26, 30}
var blockCount = [...]int{0, 1, 1, 2, 2, 4, 4, 6, 6, 8, 8, 8, 10, 12, 16, 12, 17, 16, 18, 21, 20}

// rawCodewords is how many bytes fit beside the fixed patterns.
func rawCodewords(version int) int {
	bits := (16*version+128)*version + 64
	if version >= 2 {
		n := version/7 + 2
		bits -= (25*n-10)*n - 55
		if version >= 7 {
			bits -= 36
		}
	}
	return bits / 8
}

func dataCodewords(version int) int {
	return rawCodewords(version) - eccPerBlock[version]*blockCount[version]
}

// lengthBits is the width of the length of a text of bytes.
func lengthBits(version int) int {
	if version < 10 {
		return 8
	}
	return 16
}

// Encode returns the smallest code that holds text.
func Encode(text string) (*Code, error) {
	for version := 1; version <= maxVersion; version++ {
		if 4+lengthBits(version)+8*len(text) <= 8*dataCodewords(version) {
			return draw(version, interleave(version, payload(version, text))), nil
		}
	}
	return nil, ErrTooLong
}

type bitWriter struct {
	bytes []byte
	n     int
}

func (w *bitWriter) write(value, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(value>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// payload is the text with its header, filled up to the capacity.
func payload(version int, text string) []byte {
	const byteMode = 4
	var w bitWriter
	w.write(byteMode, 4)
	w.write(len(text), lengthBits(version))
	for i := range len(text) {
		w.write(int(text[i]), 8)
	}
	size := dataCodewords(version)
	w.write(0, min(4, 8*size-w.n))
	for pad := byte(0xEC); len(w.bytes) < size; pad ^= 0xEC ^ 0x11 {
		w.bytes = append(w.bytes, pad)
	}
	return w.bytes
}

// interleave splits the data into blocks, adds the error correction of each,
// and takes one byte of each block in turn.
func interleave(version int, data []byte) []byte {
	raw, count, ecc := rawCodewords(version), blockCount[version], eccPerBlock[version]
	short, shortData := count-raw%count, raw/count-ecc
	generator := generatorPolynomial(ecc)
	blocks, checks := make([][]byte, count), make([][]byte, count)
	for i := range blocks {
		n := shortData
		if i >= short {
			n++
		}
		blocks[i], data = data[:n], data[n:]
		checks[i] = remainder(blocks[i], generator)
	}
	out := make([]byte, 0, raw)
	for i := range shortData + 1 {
		for _, b := range blocks {
			if i < len(b) {
				out = append(out, b[i])
			}
		}
	}
	for i := range ecc {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// multiply is the product in GF(2^8) modulo x^8+x^4+x^3+x^2+1.
func multiply(a, b byte) byte {
	product := 0
	for i := 7; i >= 0; i-- {
		product = product<<1 ^ product>>7*0x11D
		product ^= int(b>>i&1) * int(a)
	}
	return byte(product)
}

// generatorPolynomial is the product of (x - 2^i), without its leading 1.
func generatorPolynomial(degree int) []byte {
	g := make([]byte, degree)
	g[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range g {
			g[j] = multiply(g[j], root)
			if j+1 < degree {
				g[j] ^= g[j+1]
			}
		}
		root = multiply(root, 2)
	}
	return g
}

func remainder(data, generator []byte) []byte {
	rest := make([]byte, len(generator))
	for _, b := range data {
		factor := b ^ rest[0]
		copy(rest, rest[1:])
		rest[len(rest)-1] = 0
		for i, g := range generator {
			rest[i] ^= multiply(g, factor)
		}
	}
	return rest
}
