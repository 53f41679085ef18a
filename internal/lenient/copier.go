package lenient

import "strings"

// A Copier copies many small things into few blocks of memory. What is copied together
// is kept together, and nothing of the document that it comes from.
type Copier struct {
	texts strings.Builder
	block []byte
	size  int
}

// NewCopier returns a Copier with blocks of a size, or larger for what does not fit.
func NewCopier(size int) *Copier { return &Copier{size: size} }

// Text copies what [Value.Text] reads.
func (c *Copier) Text(v Value) string {
	if plain, ok := v.Plain(); ok {
		return c.String(plain)
	}
	return v.Text()
}

// String copies a text.
func (c *Copier) String(b []byte) string {
	if c.texts.Cap()-c.texts.Len() < len(b) {
		c.texts = strings.Builder{}
		c.texts.Grow(max(c.size, len(b)))
	}
	from := c.texts.Len()
	c.texts.Write(b)
	return c.texts.String()[from:]
}

// Bytes copies bytes; nil stays nil.
func (c *Copier) Bytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	if cap(c.block)-len(c.block) < len(b) {
		c.block = make([]byte, 0, max(c.size, len(b)))
	}
	from := len(c.block)
	c.block = append(c.block, b...)
	return c.block[from:len(c.block):len(c.block)]
}
