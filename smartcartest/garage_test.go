package smartcartest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestGarageCheckDigits(t *testing.T) {
	weights := []int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}
	values := map[rune]int{}
	for i, letters := range []string{"AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ"} {
		for _, r := range letters {
			values[r] = i + 1
		}
		values[rune('1'+i)] = i + 1
	}
	for _, c := range smartcartest.DefaultGarage() {
		sum := 0
		for i, r := range c.VIN {
			sum += values[r] * weights[i]
		}
		want := string("0123456789X"[sum%11])
		require.Equal(t, want, c.VIN[8:9], c.VIN)
	}
	require.Equal(t, "2", string(smartcartest.DefaultGarage()[5].VIN[7]))
	require.Equal(t, "M", string(smartcartest.DefaultGarage()[5].VIN[9]))
}
