// Command generate writes package signals and the root package's accessors of
// signals below the working directory.
package main

import (
	"log"
	"os"

	"github.com/seed-498a1bc4/smartcar/internal/catalog"
)

func main() {
	for name, source := range map[string]func() ([]byte, error){
		"signals/codes.go":     catalog.Codes,
		"signals_accessors.go": catalog.Accessors,
		"signals_units.go":     catalog.Units,
	} {
		text, err := source()
		if err == nil {
			err = os.WriteFile(name, text, 0o644)
		}
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
}
