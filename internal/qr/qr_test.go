package qr

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The browser tests decode what a screen shows. Here the parts are held against
// the standard's own examples.

func TestErrorCorrectionOfTheStandardsExample(t *testing.T) {
	// ISO/IEC 18004, annex I: "01234567" in version 1-M.
	data := []byte{0x10, 0x20, 0x0C, 0x56, 0x61, 0x80, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11}
	want := []byte{0xA5, 0x24, 0xD4, 0xC1, 0xED, 0x36, 0xC7, 0x87, 0x2C, 0x55}
	require.Equal(t, want, remainder(data, generatorPolynomial(10)))
}

// The data capacity of level Q, as the standard's table lists it.
func TestCapacities(t *testing.T) {
	bytes := [...]int{11, 20, 32, 46, 60, 74, 86, 108, 130, 151, 177, 203, 241, 258, 292, 322, 364, 394, 442, 482}
	for i, most := range bytes {
		version := i + 1
		code, err := Encode(strings.Repeat("x", most))
		require.NoError(t, err)
		require.Equal(t, version, code.version)
		require.Equal(t, 17+4*version, code.Size)
		if version < maxVersion {
			code, err = Encode(strings.Repeat("x", most+1))
			require.NoError(t, err)
			require.Equal(t, version+1, code.version)
		}
	}
	_, err := Encode(strings.Repeat("x", 483))
	require.ErrorIs(t, err, ErrTooLong)
}

func TestAlignmentOfTheStandardsTable(t *testing.T) {
	for version, want := range map[int][]int{
		1: nil, 2: {6, 18}, 6: {6, 34}, 7: {6, 22, 38}, 10: {6, 28, 50}, 14: {6, 26, 46, 66}, 15: {6, 26, 48, 70}, 20: {6, 34, 62, 90},
	} {
		require.Equal(t, want, alignment(version, 17+4*version), version)
	}
}

func TestEveryModuleIsDrawn(t *testing.T) {
	for version := 1; version <= maxVersion; version++ {
		size := 17 + 4*version
		c := &Code{Size: size, version: version, black: make([]bool, size*size), fixed: make([]bool, size*size)}
		c.patterns()
		free := 0
		for _, fixed := range c.fixed {
			if !fixed {
				free++
			}
		}
		require.Equal(t, rawCodewords(version), free/8, version)
		require.Less(t, free%8, 8)
	}
}

func TestOutsideNothingIsBlack(t *testing.T) {
	code, err := Encode("https://www.tesla.com/_ak/smartcar.com")
	require.NoError(t, err)
	require.True(t, code.Black(0, 0))
	for _, at := range [][2]int{{-1, 0}, {0, -1}, {code.Size, 0}, {0, code.Size}} {
		require.False(t, code.Black(at[0], at[1]))
	}
}
