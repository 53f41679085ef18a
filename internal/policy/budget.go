package policy

import "time"

// An Account counts the calls of one car in one calendar month, UTC. Whoever takes calls
// from it takes a block of them, and counts those by itself.
type Account struct {
	Month time.Time `json:"month,omitzero"` // when it began
	Spent int       `json:"spent,omitempty"`
	// Reset is the operator's last word that all accounts begin anew, as of when the
	// account was counted.
	Reset uint64 `json:"reset,omitempty"`
}

// At is the account in the month of that time; reset is the operator's last word.
func (a Account) At(now time.Time, reset uint64) Account {
	if !a.IsOf(now, reset) {
		return Account{Month: monthOf(now), Reset: reset}
	}
	return a
}

// IsOf reports whether the account is of the month of that time, as At has it.
func (a Account) IsOf(now time.Time, reset uint64) bool {
	return a.Month.Equal(monthOf(now)) && a.Reset == reset
}

// blockReads is how many reads a block is for. The last reads of a month are taken
// in smaller ones, so that replicas leave few to each other.
const blockReads = 10

// Take takes a block for calls of that cost, within a limit: as many as it says, and the
// account afterwards. It takes none if the limit leaves none.
func (a Account) Take(cost, limit int) (Account, int) {
	left := limit - a.Spent
	if left < cost {
		return a, 0
	}
	block := min(max(blockReads*cost, cost), max(left/4, cost))
	a.Spent += block
	return a, block
}

// A Bucket holds the calls of the whole application: it is filled steadily, up to a size.
type Bucket struct {
	Calls float64   `json:"calls"`
	AsOf  time.Time `json:"as_of,omitzero"` // when it held as many
}

// At is the bucket at that time. A bucket that nobody has used is full, and a clock that
// was set back adds nothing.
func (b Bucket) At(now time.Time, size int, perMinute float64) Bucket {
	switch passed := now.Sub(b.AsOf); {
	case b.AsOf.IsZero():
		b.Calls = float64(size)
	case passed > 0:
		b.Calls = min(b.Calls+passed.Minutes()*perMinute, float64(size))
	}
	b.AsOf = now
	return b
}

// Take takes up to so many whole calls.
func (b Bucket) Take(most int) (Bucket, int) {
	n := min(most, max(int(b.Calls), 0))
	b.Calls -= float64(n)
	return b, n
}

// Next is how long it takes until the bucket holds a call.
func (b Bucket) Next(perMinute float64) time.Duration {
	if b.Calls >= 1 {
		return 0
	}
	return time.Duration((1 - b.Calls) / perMinute * float64(time.Minute))
}

// NextMonth is when a car's reads begin again that have to wait for the next month. They
// are spread over its first day.
func NextMonth(car uint64, now time.Time) time.Time {
	month := MonthAfter(now)
	return month.Add(Pace{Car: car}.jitter(month, monthSpread))
}

func monthOf(at time.Time) time.Time {
	y, m, _ := at.UTC().Date()
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
}
