package e2e_test

import (
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/seed-498a1bc4/smartcar/internal/qr"
	"github.com/stretchr/testify/require"
)

// Another's decoder reads what our encoder draws: every version, and every
// length a link can have.
func TestEveryQRCodeCanBeRead(t *testing.T) {
	const link = "https://www.tesla.com/_ak/"
	for length := 1; length <= 482; length++ {
		if length > 120 && length%7 != 0 {
			continue
		}
		text := (link + strings.Repeat("a-label.of-many", 40))[:length]
		code, err := qr.Encode(text)
		require.NoError(t, err)
		picture := picture(code)
		bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
		require.NoError(t, err)
		result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
		require.NoError(t, err, "%d bytes", length)
		require.Equal(t, text, result.GetText())
		require.Equal(t, "Q", result.GetResultMetadata()[gozxing.ResultMetadataType_ERROR_CORRECTION_LEVEL])
	}
}

func picture(code *qr.Code) image.Image {
	const quiet, scale = 4, 3
	side := (code.Size + 2*quiet) * scale
	img := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.SetGray(x, y, color.Gray{Y: 255})
			if code.Black(x/scale-quiet, y/scale-quiet) {
				img.SetGray(x, y, color.Gray{})
			}
		}
	}
	return img
}
