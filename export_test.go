package smartcar

// Replayable lets net/http repeat requests by itself, which the client
// prevents: a test shows what would happen.
func Replayable() Option {
	return func(o *options) error { o.replayable = true; return nil }
}
