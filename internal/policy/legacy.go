package policy

import "time"

// awakeWithin: data younger than two refreshes means that the car is awake.
func awakeWithin(rules Rules) time.Duration { return 2 * rules.LegacyRefresh }

// provesStreaming: two recordings 30 s to 4 min apart (of a refresh of 5 min), or
// 6 to 9, show that a legacy car streams. Closer ones may be parts of one
// recording, and between those further apart the car may have slept.
func provesStreaming(apart time.Duration, rules Rules) bool {
	return apart > rules.LegacyRefresh/10 && apart < awakeWithin(rules) && !isRefreshes(apart, rules)
}

// isRefreshes reports whether two recordings are a number of refreshes apart, give
// or take a minute (of a refresh of 5 min).
func isRefreshes(apart time.Duration, rules Rules) bool {
	slack := rules.LegacyRefresh / 5
	return apart >= rules.LegacyRefresh-slack && (apart+slack)%rules.LegacyRefresh <= 2*slack
}

// A Cadence says when asking a legacy car again brings something new.
type Cadence struct {
	asleep  uint8     // answers in a row that showed it asleep, after the first
	earlyAt time.Time // from then on it is asked early once, for signs of streaming
}

// Next is just after the car's next refresh while it is awake. While it sleeps,
// Next follows the last answer by 5, 15 and then 60 minutes (of a refresh of 5
// min). The margin of 15 s keeps a read from coming at the very moment of a
// refresh, where it may still see the old data, and the reads of a day fewer than
// the refreshes.
func (c Cadence) Next(recordedAt, fetchedAt time.Time, rules Rules) time.Time {
	const marginShare = 20
	margin := rules.LegacyRefresh / marginShare
	if recordedAt.After(fetchedAt) {
		recordedAt = fetchedAt // a car whose clock is ahead
	}
	if recordedAt.IsZero() || fetchedAt.Sub(recordedAt) >= awakeWithin(rules) {
		return fetchedAt.Add(rules.asleepPause(c.asleep) + margin)
	}
	next := recordedAt.Add(rules.LegacyRefresh + margin)
	for !next.After(fetchedAt) {
		next = next.Add(rules.LegacyRefresh)
	}
	if early := recordedAt.Add(earlyShare(rules)); !c.earlyAt.IsZero() && !early.Before(c.earlyAt) &&
		early.Sub(fetchedAt) > rules.LegacyRefresh/10 && early.Before(next) {
		return early
	}
	return next
}

// earlyShare is how old a recording is when a car is asked early. A program that
// comes round once a minute still asks before it is 4 minutes old.
func earlyShare(rules Rules) time.Duration { return rules.LegacyRefresh / 2 }

// streaming is what is known of a legacy car that may stream: the owner can switch
// it on and off.
type streaming struct {
	on        bool
	looks     uint8     // off: early looks in a row without a result
	refreshes uint8     // on: answers in a row that were refreshes apart
	at        time.Time // on: of the last proof; off: when the car may be asked early next
}

// learn takes how far an answer's recording is from the one before, of which the
// car had been asked early if so.
func (st streaming) learn(apart time.Duration, early bool, now time.Time, rules Rules) streaming {
	switch {
	case provesStreaming(apart, rules):
		return streaming{on: true, at: now}
	case st.on:
		if isRefreshes(apart, rules) {
			st.refreshes++
		}
		if st.refreshes >= refreshesInRow || now.Sub(st.at) >= streamsFor {
			return streaming{at: now.Add(dailyLook)}
		}
	case st.at.IsZero():
		st.at = now.Add(firstEarlyLook)
	case early && !now.Before(st.at):
		st.looks = min(st.looks+1, fruitlessLooks)
		st.at = now.Add(dailyLook)
		if st.looks == fruitlessLooks {
			st.at = now.Add(weeklyLook)
		}
	}
	return st
}
