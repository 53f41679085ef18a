package policy

import "time"

// awakeWithin: data younger than two refreshes means that the car is awake.
func awakeWithin(rules Rules) time.Duration { return 2 * rules.LegacyRefresh }

// provesStreaming: two recordings 30 s to 4 min apart (of a refresh of 5 min)
// show that a legacy car streams. Closer ones may be parts of one recording.
func provesStreaming(apart time.Duration, rules Rules) bool {
	return apart > rules.LegacyRefresh/10 && apart < rules.LegacyRefresh*4/5
}

// NextLegacy is when asking a legacy car again brings something new: just after
// its next refresh while it is awake, one refresh after it was last asked while
// it is asleep. The margin of 15 s (of a refresh of 5 min) keeps a read from
// coming at the very moment of a refresh, where it may still see the old data,
// and the reads of a day fewer than the refreshes.
func NextLegacy(recordedAt, fetchedAt time.Time, rules Rules) time.Time {
	const marginShare = 20
	step := rules.LegacyRefresh + rules.LegacyRefresh/marginShare
	if recordedAt.After(fetchedAt) {
		recordedAt = fetchedAt // a car whose clock is ahead
	}
	if recordedAt.IsZero() || fetchedAt.Sub(recordedAt) >= awakeWithin(rules) {
		return fetchedAt.Add(step)
	}
	next := recordedAt.Add(step)
	for !next.After(fetchedAt) {
		next = next.Add(rules.LegacyRefresh)
	}
	return next
}
