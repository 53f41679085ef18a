package smartcar

// A Grant is the result of one run of Connect. Its tokens are in the store and
// nowhere else.
type Grant struct {
	// UserID is the owner's id as Smartcar's API confirmed it, not as the
	// browser claimed it. Keep it: [Client.User] takes it.
	UserID string
	// ExternalID is your own id for the owner, from [ConnectOptions]: taken
	// from the signed cookie, not from the browser's address bar.
	ExternalID string
	// VehicleID is set after a re-authentication, which brings no new tokens.
	VehicleID string
	// VirtualKeyURL is where the owner adds the virtual key, if one of the
	// cars needs it. Show it as a link on a phone or a QR code elsewhere.
	VirtualKeyURL VirtualKeyURL
	// VirtualKeyErr is why a link that came along was refused: a hostile link
	// never costs the grant.
	VirtualKeyErr error
}

// A PendingGrantError says that Connect succeeded, but whose run it was is not
// known yet: Smartcar could not be asked, or, on API v3, does not confirm the
// user whom the browser named. The tokens of v2.0 are kept, in this process's
// memory if the store would not take them yet. Nothing is lost: call
// [Connect.Resume] with GrantID later.
type PendingGrantError struct {
	GrantID string
	Err     error
}

func (e *PendingGrantError) Error() string {
	return "smartcar: the grant is stored but not yet linked to its user; call Resume: " + e.Err.Error()
}

// Unwrap returns why the user could not be asked for.
func (e *PendingGrantError) Unwrap() error { return e.Err }
