package smartcartest

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
)

// randomUUID is a new value for an id, a code or a token.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return uuid(b)
}

// namedUUID makes an id from words: the same words always give the same id.
func namedUUID(kind string, name any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "smartcartest/%s/%v", kind, name))
	return uuid([16]byte(sum[:16]))
}

// uuid writes 16 bytes as a UUID of version 4.
func uuid(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isUUID says whether s looks like a UUID. Codes that do not are refused as
// invalid_request.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if r != '-' {
				return false
			}
		} else if (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F') {
			return false
		}
	}
	return true
}

// isID says whether s looks like an id of a car or a webhook: a UUID, whose
// first part may have a prefix, as in sc4a1b01e5-0497-417c-a30e-6df6ba33ba46,
// or another letter in it. It knows nothing of the ids that cars and webhooks
// were given: look those up first.
func isID(s string) bool {
	first, rest, _ := strings.Cut(s, "-")
	letters := strings.IndexFunc(first, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0
	return letters && len(first) >= 8 && len(first) <= 12 && isUUID("00000000-"+rest)
}
