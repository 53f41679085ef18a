package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/argument"
)

// ErrSealed says that a record cannot be opened: it was sealed with a key that
// is not in the ring, or it was changed, or it stood under another key of the store.
var ErrSealed = errors.New("smartcar: the sealed record cannot be opened with the keys given")

// Sealed keeps the values of another store encrypted and authenticated
// (AES-256-GCM), bound to the key each is stored under, so that records cannot
// be read, changed or swapped by whoever can write to the store. Keys, revisions
// and times stay in the clear. It is safe for concurrent use.
type Sealed struct {
	store Store
	// ring holds a cipher for each key. A function, so that no verb of fmt
	// prints what one holds.
	ring func() []sealer
}

type sealer struct {
	id   [sealKeyID]byte // tells which key a record was sealed with
	aead cipher.AEAD
}

const (
	sealVersion = 1
	sealKeyID   = 8
	sealNonce   = 12
	sealHeader  = 1 + sealKeyID + sealNonce
)

// NewSealed wraps store. The first of keys, 32 random bytes each, seals;
// all of them open. To rotate, put a new key in front, and drop the old one only
// when every record has been written anew or has expired. Cars are within 90
// days, and so are tokens that are in use; what is stored about a user does not
// expire, and is written anew by smartcar.User.Renew if an older key has sealed it:
// call it for every user in between.
func NewSealed(store Store, keys ...[]byte) (*Sealed, error) {
	if store == nil {
		return nil, argument.Error("store.NewSealed store", "is nil")
	}
	if len(keys) == 0 {
		return nil, argument.Error("store.NewSealed keys", "are missing: give at least one key of 32 random bytes")
	}
	ring := make([]sealer, 0, len(keys))
	for _, key := range keys {
		if len(key) != 32 {
			return nil, argument.Error("store.NewSealed keys", "must be 32 random bytes each")
		}
		block, err := aes.NewCipher(slices.Clone(key))
		if err != nil {
			return nil, argument.Error("store.NewSealed keys", "must be 32 random bytes each")
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, argument.Error("store.NewSealed keys", "cannot be used with AES-GCM")
		}
		sum := sha256.Sum256(append([]byte("smartcar sealed store key\x00"), key...))
		ring = append(ring, sealer{id: [sealKeyID]byte(sum[:sealKeyID]), aead: aead})
	}
	return &Sealed{store: store, ring: func() []sealer { return ring }}, nil
}

// seal returns version, key id, nonce and ciphertext.
func (s *Sealed) seal(key string, value []byte) []byte {
	with := s.ring()[0]
	out := make([]byte, sealHeader, sealHeader+len(value)+with.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], with.id[:])
	nonce := out[1+sealKeyID : sealHeader]
	_, _ = rand.Read(nonce) // never fails; see crypto/rand
	return with.aead.Seal(out, nonce, value, []byte(key))
}

func (s *Sealed) open(key string, r Record) (Record, error) {
	if r.Revision == "" {
		return r, nil
	}
	sealed := r.Value
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return Record{}, fmt.Errorf("%w: it is not sealed, or by another version", ErrSealed)
	}
	for i, with := range s.ring() {
		if [sealKeyID]byte(sealed[1:1+sealKeyID]) != with.id {
			continue
		}
		value, err := with.aead.Open(nil, sealed[1+sealKeyID:sealHeader], sealed[sealHeader:], []byte(key))
		if err != nil {
			return Record{}, fmt.Errorf("%w: it was changed or moved", ErrSealed)
		}
		r.Value, r.Outdated = value, i > 0
		return r, nil
	}
	return Record{}, fmt.Errorf("%w: no key of the ring has sealed it", ErrSealed)
}

// ready reports that s was declared, and not made by NewSealed.
func (s *Sealed) ready() error {
	if s == nil || s.store == nil || s.ring == nil {
		return argument.Error("store.Sealed", "must come from store.NewSealed")
	}
	return nil
}

// Load implements [Store].
func (s *Sealed) Load(ctx context.Context, key string) (Record, error) {
	if err := s.ready(); err != nil {
		return Record{}, err
	}
	r, err := s.store.Load(ctx, key)
	if err != nil {
		return Record{Now: r.Now}, err
	}
	return s.open(key, r)
}

// CompareAndSwap implements [Store].
func (s *Sealed) CompareAndSwap(ctx context.Context, key string, old Revision, value []byte, ttl time.Duration) (Record, error) {
	if err := s.ready(); err != nil {
		return Record{}, err
	}
	r, err := s.store.CompareAndSwap(ctx, key, old, s.seal(key, value), ttl)
	if err != nil && !errors.Is(err, ErrConflict) {
		return Record{}, err
	}
	opened, openErr := s.open(key, r)
	if openErr != nil {
		return Record{}, openErr
	}
	return opened, err
}

// Delete implements [Store].
func (s *Sealed) Delete(ctx context.Context, key string, old Revision) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.store.Delete(ctx, key, old)
}

// List implements [Lister]: keys are not sealed. It returns [ErrCannotList] if the store
// below cannot list.
func (s *Sealed) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	lister, ok := s.store.(Lister)
	if !ok {
		return nil, "", ErrCannotList
	}
	return lister.List(ctx, prefix, cursor)
}

var (
	_ Store  = (*Sealed)(nil)
	_ Lister = (*Sealed)(nil)
)
