package qr

// draw places the patterns and the data, and chooses the mask that leaves the
// fewest shapes a reader could mistake.
func draw(version int, codewords []byte) *Code {
	size := 4*version + 17
	c := &Code{Size: size, version: version, black: make([]bool, size*size), fixed: make([]bool, size*size)}
	c.patterns()
	c.place(codewords)
	best, lowest := 0, -1
	for mask := range masks {
		c.mask(mask)
		c.format(mask)
		if p := c.penalty(); lowest < 0 || p < lowest {
			best, lowest = mask, p
		}
		c.mask(mask) // the same again takes it off
	}
	c.mask(best)
	c.format(best)
	return c
}

func (c *Code) set(x, y int, black bool) {
	c.black[y*c.Size+x], c.fixed[y*c.Size+x] = black, true
}

func (c *Code) patterns() {
	for i := range c.Size { // timing
		c.set(6, i, i%2 == 0)
		c.set(i, 6, i%2 == 0)
	}
	for _, at := range [][2]int{{3, 3}, {c.Size - 4, 3}, {3, c.Size - 4}} {
		c.square(at[0], at[1], 4, func(ring int) bool { return ring != 2 && ring != 4 })
	}
	centers := alignment(c.version, c.Size)
	last := len(centers) - 1
	for i, x := range centers {
		for j, y := range centers {
			if i == 0 && (j == 0 || j == last) || i == last && j == 0 {
				continue // a finder pattern is there
			}
			c.square(x, y, 2, func(ring int) bool { return ring != 1 })
		}
	}
	c.format(0) // reserves the place
	c.versionBits()
}

// square draws rings around a center, as far as they are inside.
func (c *Code) square(x, y, radius int, black func(ring int) bool) {
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			if px, py := x+dx, y+dy; 0 <= px && px < c.Size && 0 <= py && py < c.Size {
				c.set(px, py, black(max(dx, -dx, dy, -dy)))
			}
		}
	}
}

func alignment(version, size int) []int {
	if version == 1 {
		return nil
	}
	n := version/7 + 2
	step := (8*version + 3*n + 5) / (4*n - 4) * 2
	at := make([]int, n)
	at[0] = 6
	for i := 1; i < n; i++ {
		at[i] = size - 7 - (n-1-i)*step
	}
	return at
}

// format writes level and mask, twice, with their own error correction.
func (c *Code) format(mask int) {
	const levelQ = 3
	data := levelQ<<3 | mask
	rest := data
	for range 10 {
		rest = rest<<1 ^ rest>>9*0x537
	}
	bits := (data<<10 | rest) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 != 0 }
	for i := range 6 {
		c.set(8, i, bit(i))
	}
	c.set(8, 7, bit(6))
	c.set(8, 8, bit(7))
	c.set(7, 8, bit(8))
	for i := 9; i < 15; i++ {
		c.set(14-i, 8, bit(i))
	}
	for i := range 8 {
		c.set(c.Size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		c.set(8, c.Size-15+i, bit(i))
	}
	c.set(8, c.Size-8, true)
}

func (c *Code) versionBits() {
	if c.version < 7 {
		return
	}
	rest := c.version
	for range 12 {
		rest = rest<<1 ^ rest>>11*0x1F25
	}
	bits := c.version<<12 | rest
	for i := range 18 {
		black := bits>>i&1 != 0
		c.set(c.Size-11+i%3, i/3, black)
		c.set(i/3, c.Size-11+i%3, black)
	}
}

// place writes the bits in columns of two, up and down, from the right.
func (c *Code) place(codewords []byte) {
	n := 0
	for right := c.Size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5 // the timing column
		}
		for i := range c.Size {
			y := i
			if (right+1)&2 == 0 {
				y = c.Size - 1 - i
			}
			for x := right; x >= right-1; x-- {
				if at := y*c.Size + x; !c.fixed[at] && n < 8*len(codewords) {
					c.black[at] = codewords[n/8]>>(7-n%8)&1 != 0
					n++
				}
			}
		}
	}
}

var masks = [...]func(x, y int) bool{
	func(x, y int) bool { return (x+y)%2 == 0 },
	func(_, y int) bool { return y%2 == 0 },
	func(x, _ int) bool { return x%3 == 0 },
	func(x, y int) bool { return (x+y)%3 == 0 },
	func(x, y int) bool { return (x/3+y/2)%2 == 0 },
	func(x, y int) bool { return x*y%2+x*y%3 == 0 },
	func(x, y int) bool { return (x*y%2+x*y%3)%2 == 0 },
	func(x, y int) bool { return ((x+y)%2+x*y%3)%2 == 0 },
}

func (c *Code) mask(which int) {
	for at := range c.black {
		if !c.fixed[at] && masks[which](at%c.Size, at/c.Size) {
			c.black[at] = !c.black[at]
		}
	}
}

// penalty is the standard's count of shapes that make reading harder.
func (c *Code) penalty() int {
	total, dark := 0, 0
	for y := range c.Size {
		total += c.line(func(i int) bool { return c.Black(i, y) })
		total += c.line(func(i int) bool { return c.Black(y, i) })
		for x := range c.Size {
			if c.Black(x, y) {
				dark++
			}
			if b := c.Black(x, y); x > 0 && y > 0 && b == c.Black(x-1, y) && b == c.Black(x, y-1) && b == c.Black(x-1, y-1) {
				total += 3
			}
		}
	}
	all := c.Size * c.Size
	off := 20*dark - 10*all
	return total + (max(off, -off)+all-1)/all*10 - 10
}

// line counts long runs, and what looks like a finder pattern, in one line.
func (c *Code) line(black func(i int) bool) int {
	const finder, width = 0b1011101_0000, 11
	total, run, window := 0, 0, 0
	for i := range c.Size + 4 { // the quiet zone counts, too
		b := i < c.Size && black(i)
		bit := 0
		if b {
			bit = 1
		}
		window = (window<<1 | bit) & (1<<width - 1)
		if i < c.Size {
			if i > 0 && b == black(i-1) {
				run++
			} else {
				run = 1
			}
			switch {
			case run == 5:
				total += 3
			case run > 5:
				total++
			}
		}
		if i >= 6 && (window == finder || window == finder>>4) {
			total += 40
		}
	}
	return total
}
