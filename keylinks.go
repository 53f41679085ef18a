package smartcar

import "context"

// keyLinks finds the link to show to the owner of a car that needs the key.
type keyLinks struct {
	opts   *options
	tokens *tokenKeeper
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
	if record, err := l.tokens.storedUser(ctx, userID); err == nil {
		if parsed := l.parse(record.VirtualKeyURL); !parsed.IsZero() {
			parsed.vin = "" // of whichever car it came with
			return parsed
		}
	}
	return virtualKeyURLFor(l.opts.keyDomain)
}
