package policy

import "time"

// quiet is the pause of a car that would say nothing new: it sleeps, its data
// stands still, or Smartcar has stored nothing of it.
type quiet struct {
	times uint8     // answers in a row that said so
	to    time.Time // when the car is asked next
}

// again follows an answer that said so.
func (q quiet) again(now time.Time, rules Rules) quiet {
	return quiet{times: min(q.times+1, maxQuiet), to: now.Add(rules.asleepPause(q.times))}
}

// maxQuiet is the number of the longest pause.
const maxQuiet = 3

// standsStill is the pause of a car whose data was fetched long ago.
func standsStill(now time.Time, rules Rules) quiet {
	return quiet{times: maxQuiet, to: now.Add(rules.asleepPause(maxQuiet))}
}
