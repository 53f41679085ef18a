package smartcartest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCappedForgetsTheOldest(t *testing.T) {
	var list []int
	for i := range 25 {
		list = appendCappedTo(list, i, 20)
		require.Equal(t, i, list[len(list)-1])
		require.LessOrEqual(t, len(list), 20)
	}
	require.Equal(t, 6, list[0], "a tenth at a time")
	for i := range list[1:] {
		require.Equal(t, list[i]+1, list[i+1])
	}
}
