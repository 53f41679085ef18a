// Package vin reads what a Tesla vehicle identification number says about a car.
package vin

import (
	"errors"
	"strings"
)

// Length is the number of characters of every VIN.
const Length = 17

// What can be wrong with the text of a VIN. Neither error repeats it: a VIN is personal data.
var (
	ErrLength     = errors.New("a VIN has exactly 17 characters")
	ErrCharacters = errors.New("a VIN has only the digits 0-9 and the letters A-Z without I, O and Q")
)

// A VIN is what can be read off a vehicle identification number. It leaves out
// the serial number, so printing one does not identify a car. Model, Year,
// DriveUnit and Plant follow Tesla's code and mean something only if IsTesla.
type VIN struct {
	WMI          string // positions 1 to 3: the manufacturer. It does not tell the model
	Model        byte   // position 4: S, 3, X, Y, C Cybertruck, R Roadster, T Semi, A Cybercab
	DriveUnit    byte   // position 8: on S and X, 1-4 before the 2021 refresh and 5-6 after it
	Year         int    // position 10: the model year, or 0 for a code that stands for none
	Plant        byte   // position 11
	CheckDigitOK bool   // position 9 fits the rest. Real cars and test data often fail this
}

// Parse reads a VIN in any case, with or without space around it. It accepts
// every manufacturer and a wrong check digit; the caller decides what they mean.
func Parse(s string) (VIN, error) {
	s, err := Normalize(s)
	if err != nil {
		return VIN{}, err
	}
	return VIN{
		WMI:          s[:3],
		Model:        s[3],
		DriveUnit:    s[7],
		Year:         modelYear(s[9], s[3]),
		Plant:        s[10],
		CheckDigitOK: s[8] == checkDigit(s),
	}, nil
}

// Normalize returns s without space around it and in upper case, or an error
// if that is not a possible VIN.
func Normalize(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) != Length {
		return "", ErrLength
	}
	for i := range len(s) {
		if !isVINCharacter(s[i]) {
			return "", ErrCharacters
		}
	}
	return strings.ToUpper(s), nil
}

// IsTesla reports whether a Tesla factory known today built the car.
func (v VIN) IsTesla() bool {
	switch v.WMI {
	case "5YJ", "7SA", "7G2", // USA
		"LRW", // Shanghai
		"XP7", // Berlin
		"SFZ": // Roadster, built by Lotus
		return true
	}
	return false
}

// Simulated reports whether Smartcar made the VIN up for a simulated vehicle.
// Such a VIN says nothing about the make or the model.
func (v VIN) Simulated() bool { return v.WMI == "0SC" || v.WMI == "1SC" }

func isVINCharacter(c byte) bool {
	switch {
	case '0' <= c && c <= '9':
		return true
	case 'a' <= c && c <= 'z':
		c -= 'a' - 'A'
	}
	return 'A' <= c && c <= 'Z' && c != 'I' && c != 'O' && c != 'Q'
}

// modelYear returns 0 for a code that stands for no year. Codes repeat every 30
// years: Tesla sold nothing but Roadsters in 2008 and 2009, so on any other
// model '8' and '9' are 2038 and 2039.
func modelYear(code, model byte) int {
	const codes = "ABCDEFGHJKLMNPRSTVWXY123456789" // 2010 to 2039
	i := strings.IndexByte(codes, code)
	if i < 0 {
		return 0
	}
	year := 2010 + i
	if model == 'R' && year >= 2038 {
		return year - 30
	}
	return year
}

// checkDigit computes position 9 as 49 CFR 565.15 prescribes.
func checkDigit(s string) byte {
	weights := [Length]int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}
	sum := 0
	for i, weight := range weights {
		sum += weight * characterValue(s[i])
	}
	return "0123456789X"[sum%11]
}

func characterValue(c byte) int {
	const letters = "12345678.12345.7.923456789" // A to Z; the dots are I, O and Q
	if c >= 'A' {
		c = letters[c-'A']
	}
	return int(c - '0')
}
