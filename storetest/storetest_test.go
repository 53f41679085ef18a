package storetest

import (
	"testing"

	"github.com/seed-498a1bc4/smartcar"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	Run(t, func(*testing.T) smartcar.Store { return smartcar.NewMemoryStore() })
}

func TestMemoryStoreShared(t *testing.T) {
	t.Parallel()
	store := smartcar.NewMemoryStore()
	Run(t, func(*testing.T) smartcar.Store { return store }, Shared())
}
