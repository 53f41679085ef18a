// Package tokens keeps the tokens of Smartcar alive: the pairs of grants, which
// owners gave on API v2.0, and the one token of the application on API v3. A
// token is renewed once for all callers of all processes that share the store,
// under a lease; see lease.go.
package tokens

import (
	"context"
	"errors"
	"time"
)

// ErrEnded says that there is no such grant (any more).
var ErrEnded = errors.New("the grant has ended")

// ErrNoOther says that a refused token cannot be replaced by another one.
var ErrNoOther = errors.New("there is no other token to try")

// skew renews an access token before its end, so that none runs out on its way.
const skew = time.Minute

// A Pair is what the token endpoint gave.
type Pair struct {
	AccessToken  string
	RefreshToken string    // none with the token of an application
	Obtained     time.Time // by the clock of this process
	Expires      time.Time // the access token; by the clock of this process
}

// An Exchange asks the token endpoint for a new pair: in exchange for a refresh
// token, or, where that is empty, for the credentials of the application. It
// bounds its own time. It is called by one process at a time, as far as a lease
// can tell.
type Exchange func(ctx context.Context, refreshToken string) (Pair, error)

// A Judge says what an error of an Exchange, however wrapped or joined, means for
// the refresh token that was sent.
type Judge func(err error) Verdict

// A Verdict is what a [Judge] says.
type Verdict struct {
	Ended   bool // the refresh token is void
	Unclear bool // it may have been traded for a pair that never came
	Again   bool // the same one may be sent again at once
}

func header(accessToken string) []string { return []string{"Bearer " + accessToken} }
