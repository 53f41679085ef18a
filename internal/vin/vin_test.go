package vin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/internal/vin"
)

func TestParseReadsEveryPositionThatMatters(t *testing.T) {
	t.Parallel()
	got, err := vin.Parse("5YJXCCE23MF000001")
	require.NoError(t, err)
	require.Equal(t, vin.VIN{WMI: "5YJ", Model: 'X', DriveUnit: '2', Year: 2021, Plant: 'F'}, got)
	require.True(t, got.IsTesla())
	require.False(t, got.Simulated())
}

func TestParseForgivesCaseAndSpace(t *testing.T) {
	t.Parallel()
	tidy, err := vin.Parse("5YJXCCE23MF000001")
	require.NoError(t, err)
	typed, err := vin.Parse(" \t5yjxcce23mf000001\n")
	require.NoError(t, err)
	require.Equal(t, tidy, typed)
}

func TestParseRefusesWhatIsNoVINWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want error
	}{
		"empty":                   {"", vin.ErrLength},
		"space only":              {"                 ", vin.ErrLength},
		"too short":               {"5YJXCCE23MF00000", vin.ErrLength},
		"too long":                {"5YJXCCE23MF0000011", vin.ErrLength},
		"letter O for zero":       {"5YJXCCE23MFO00001", vin.ErrCharacters},
		"letter I for one":        {"5YJXCCE23MF00000I", vin.ErrCharacters},
		"letter Q":                {"5YJXCCE23MF00000q", vin.ErrCharacters},
		"inner space":             {"5YJXCCE23 F000001", vin.ErrCharacters},
		"masked":                  {"5YJXCCE23MF******", vin.ErrCharacters},
		"long s, upper case is S": {"5YJſCCE23MF00001", vin.ErrCharacters},
		"not UTF-8":               {"5YJXCCE23MF00000\xff", vin.ErrCharacters},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := vin.Parse(tt.text)
			require.ErrorIs(t, err, tt.want)
			require.Zero(t, got)
			require.NotContains(t, err.Error(), "5YJ")
		})
	}
}

func TestModelYear(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model, code string
		want        int
	}{
		{"S", "A", 2010},
		{"S", "H", 2017},
		{"S", "J", 2018}, // I is left out
		{"S", "L", 2020},
		{"S", "M", 2021},
		{"S", "N", 2022},
		{"S", "P", 2023}, // O is left out
		{"S", "R", 2024}, // Q is left out
		{"S", "T", 2026},
		{"S", "V", 2027}, // U is left out
		{"S", "Y", 2030},
		{"S", "1", 2031},
		{"S", "8", 2038},
		{"S", "9", 2039},
		{"R", "7", 2037},
		{"R", "8", 2008},
		{"R", "9", 2009},
		{"R", "A", 2010},
		{"S", "0", 0},
		{"S", "U", 0},
		{"S", "Z", 0},
	}
	for _, tt := range tests {
		t.Run(tt.model+" with code "+tt.code, func(t *testing.T) {
			t.Parallel()
			got, err := vin.Parse("5YJ" + tt.model + "CCE23" + tt.code + "F000001")
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Year)
		})
	}
}

// The valid VINs are textbook examples for the algorithm, not ours.
func TestCheckDigitIsReportedAndNeverEnforced(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"11111111111111111": true,
		"1M8GDM9AXKP042788": true,
		"5GZCZ43D13S812715": true,
		"1M8GDM9A1KP042788": false,
		"5GZCZ43D13S812716": false,
		"5GZCZ43DX3S812715": false,
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got, err := vin.Parse(text)
			require.NoError(t, err)
			require.Equal(t, want, got.CheckDigitOK)
		})
	}
}

func TestManufacturer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ tesla, simulated bool }{
		"5YJ": {tesla: true},
		"7SA": {tesla: true},
		"7G2": {tesla: true},
		"LRW": {tesla: true},
		"XP7": {tesla: true},
		"SFZ": {tesla: true},
		"0SC": {simulated: true},
		"1SC": {simulated: true},
		"WBA": {},
		"5YM": {},
	}
	for wmi, want := range tests {
		t.Run(wmi, func(t *testing.T) {
			t.Parallel()
			got, err := vin.Parse(wmi + "SA1E14HF000001")
			require.NoError(t, err)
			require.Equal(t, want.tesla, got.IsTesla())
			require.Equal(t, want.simulated, got.Simulated())
		})
	}
}

func TestPrintingDoesNotIdentifyTheCar(t *testing.T) {
	t.Parallel()
	got, err := vin.Parse("5YJXCCE23MF424242")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got), "424242")
}

func FuzzVIN(f *testing.F) {
	for _, seed := range []string{
		"", "5YJXCCE23MF000001", " 5yj3e1ea7kf000001 ", "0SCLR0002E8896323", "SFZRE2B1483000001",
		"1M8GDM9AXKP042788", "5YJXCCE23MFO00001", "5YJſCCE23MF00001", strings.Repeat("\xff", vin.Length),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal, err := vin.Normalize(text)
		got, parseErr := vin.Parse(text)
		require.Equal(t, err, parseErr)
		if err != nil {
			return
		}
		require.Len(t, normal, vin.Length)
		again, err := vin.Parse(normal)
		require.NoError(t, err, "the normal form is accepted")
		require.Equal(t, got, again, "the normal form says the same")
		require.False(t, got.IsTesla() && got.Simulated())
		if got.Year != 0 {
			require.GreaterOrEqual(t, got.Year, 2008)
			require.LessOrEqual(t, got.Year, 2039)
		}
	})
}
