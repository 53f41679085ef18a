package smartcar

import (
	"context"

	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// keyLinks finds the link to show to the owner of a car that needs the key.
type keyLinks struct {
	opts  *options
	users *users.Users
}

// parse returns the zero value for a link that is not trusted (any more).
func (l *keyLinks) parse(raw string) VirtualKeyURL {
	parsed, err := ParseVirtualKeyURL(raw, l.opts.keyDomains...)
	if err != nil {
		return VirtualKeyURL{}
	}
	return parsed
}

// forCar is the link to show for a car: the server's word, then what Connect
// brought, then the configured domain.
func (l *keyLinks) forCar(ctx context.Context, userID, fromError string) VirtualKeyURL {
	if parsed := l.parse(fromError); !parsed.IsZero() {
		return parsed
	}
	if record, err := l.users.Connected(ctx, userID); err == nil {
		if parsed := l.parse(record.VirtualKeyURL); !parsed.IsZero() {
			parsed.vin = "" // of whichever car it came with
			return parsed
		}
	}
	return virtualKeyURLFor(l.opts.keyDomain)
}
