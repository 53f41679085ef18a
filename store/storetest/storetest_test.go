package storetest

import (
	"testing"

	"github.com/seed-498a1bc4/smartcar/store"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	Run(t, func(*testing.T) store.Store { return store.NewMemory() })
}

func TestMemoryShared(t *testing.T) {
	t.Parallel()
	db := store.NewMemory()
	Run(t, func(*testing.T) store.Store { return db }, Shared())
}
