package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/seed-498a1bc4/smartcar/store"
)

// What is kept cannot be read without the key. To change the key, put the new one
// in front: the older ones still open.
func ExampleNewSealed() {
	ctx := context.Background()
	kept := store.NewMemory() // a database that others can read
	older, newer := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)

	sealed, err := store.NewSealed(kept, older)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sealed.CompareAndSwap(ctx, "grant/1", "", []byte("a refresh token"), 0); err != nil {
		log.Fatal(err)
	}
	raw, err := kept.Load(ctx, "grant/1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("readable:", bytes.Contains(raw.Value, []byte("refresh")))

	for _, keys := range [][][]byte{{newer, older}, {newer}} {
		sealed, err := store.NewSealed(kept, keys...)
		if err != nil {
			log.Fatal(err)
		}
		record, err := sealed.Load(ctx, "grant/1")
		fmt.Println(string(record.Value), errors.Is(err, store.ErrSealed))
	}
	// Output:
	// readable: false
	// a refresh token false
	//  true
}
