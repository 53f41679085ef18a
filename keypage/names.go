package keypage

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/seed-498a1bc4/smartcar"
)

// CarName is what the page calls a car, such as "Tesla Model Y 2023", for pages of
// your own that shall call it the same. The make has one spelling, whether Smartcar
// writes "TESLA", "tesla" or "Tesla". A text that is too long for a name is cut, and
// what cannot be printed is left out. It is empty if nothing is known of the car.
func CarName(a *smartcar.AttributesReading) string {
	const longest = 60
	if a == nil {
		return ""
	}
	words := strings.FieldsFunc(spelled(a.Make)+" "+a.Model, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	if a.Year > 0 {
		words = append(words, strconv.Itoa(a.Year))
	}
	if text := []rune(strings.Join(words, " ")); len(text) > longest {
		return string(text[:longest]) + "…"
	}
	return strings.Join(words, " ")
}

// spelled is a make with capital letters at the beginning of its words. It stays as it
// is if somebody has spelled it already, with letters of both kinds, or if it is none.
func spelled(brand string) string {
	upper, lower := strings.ToUpper(brand), strings.ToLower(brand)
	if brand != upper && brand != lower || strings.ContainsFunc(brand, notInMake) {
		return brand
	}
	var b strings.Builder
	for brand != "" {
		end := strings.IndexAny(brand, " -")
		if end < 0 {
			end = len(brand)
		}
		b.WriteString(spelledWord(strings.ToUpper(brand[:end])))
		if end < len(brand) {
			b.WriteByte(brand[end])
			end++
		}
		brand = brand[end:]
	}
	return b.String()
}

func notInMake(r rune) bool { return !unicode.IsLetter(r) && r != ' ' && r != '-' }

// spelledWord takes one word in capital letters. Short ones are mostly initials.
func spelledWord(word string) string {
	const initials = 3
	switch word {
	case "MINI", "SEAT", "CUPRA": // as their makers write them
		return word
	case "KIA", "RAM":
	default:
		if len(word) <= initials {
			return word
		}
	}
	letters := []rune(word)
	return string(letters[:1]) + strings.ToLower(string(letters[1:]))
}
