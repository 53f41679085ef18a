// Command generate writes, below the working directory, what is made of the
// table of signals in internal/catalog and of the table of reads in
// operations.go.
package main

import (
	"log"
	"os"

	"github.com/seed-498a1bc4/smartcar/internal/catalog"
)

func main() {
	log.SetFlags(0)
	table, err := os.ReadFile("operations.go")
	if err != nil {
		log.Fatal(err)
	}
	files, err := catalog.Files(table)
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
