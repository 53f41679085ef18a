package smartcar_test

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// keyWords are events that tell of the key of a car, as they were signed at a time.
var keyWords = map[string]func(t *testing.T, w *wrongClock, paired bool, signed time.Time) []byte{
	"an error": func(t *testing.T, w *wrongClock, paired bool, signed time.Time) []byte {
		state := smartcar.EventErrorBegan
		if paired {
			state = smartcar.EventErrorResolved
		}
		id := strconv.FormatInt(signed.UnixMilli(), 10)
		return keyError(t, id, w.user.ID(), w.car.ID(), state, map[string]any{"deliveredAt": signed.UnixMilli()})
	},
	"a signal": func(t *testing.T, w *wrongClock, paired bool, signed time.Time) []byte {
		e := pushed(strconv.FormatInt(signed.UnixMilli(), 10), w.user, w.car.ID(), time.Since(signed), map[signals.Code]any{
			signals.ConnectivityStatusIsDigitalKeyPaired: map[string]any{"value": paired},
		})
		return e.body(t)
	},
	"a signal without a date": func(t *testing.T, w *wrongClock, paired bool, signed time.Time) []byte {
		e := pushed(strconv.FormatInt(signed.UnixMilli(), 10), w.user, w.car.ID(), 0, map[signals.Code]any{
			signals.ConnectivityStatusIsDigitalKeyPaired: map[string]any{"value": paired},
		})
		e.Recorded, e.Fetched, e.Delivered = time.UnixMilli(0), time.UnixMilli(0), signed
		return e.body(t)
	},
	"of version 2.0": func(t *testing.T, w *wrongClock, paired bool, signed time.Time) []byte {
		if paired {
			t.Skip("version 2.0 cannot say it")
		}
		body, err := json.Marshal(map[string]any{
			"version": "2.0", "webhookId": "hook", "eventName": "schedule", "mode": "live",
			"payload": map[string]any{"vehicles": []any{map[string]any{
				"vehicleId": w.car.ID(), "unitSystem": "metric", "timestamp": signed.UTC().Format(time.RFC3339), "data": []any{map[string]any{
					"path": "/battery", "code": 403, "body": map[string]any{"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED"},
				}},
			}}},
		})
		require.NoError(t, err)
		return body
	},
}

// eachKeyWord runs a test with a car whose key is known to be there or gone, for each kind
// of event and for a store with a clock of its own, which is right, and one without.
func eachKeyWord(t *testing.T, paired bool, test func(t *testing.T, w *wrongClock, db *replica, tells func(paired bool, signed time.Time) []byte)) {
	t.Helper()
	for name, tells := range keyWords {
		for _, dated := range []bool{true, false} {
			t.Run(name+", with a clock "+strconv.FormatBool(dated), func(t *testing.T) {
				onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
					db := &replica{Store: undatedStore{store.NewMemory()}}
					if dated {
						db.Store = newSteppingStore(store.NewMemory())
					}
					w := newWrongClock(t, sim, api, new(steppingClock), db)
					if paired {
						w.car = w.user.Vehicle(smartcartest.Model3)
					}
					time.Sleep(12 * time.Hour)
					w.read(t)
					time.Sleep(10 * time.Minute)
					test(t, w, db, func(paired bool, signed time.Time) []byte { return tells(t, w, paired, signed) })
				})
			})
		}
	}
}

// unpair removes the key, of which nobody has told yet.
func (w *wrongClock) unpair(t *testing.T) {
	t.Helper()
	require.NoError(t, w.sim.Unpair(w.car.ID()))
}

// needsKey requires what is known of the key.
func (w *wrongClock) needsKey(t *testing.T, needs bool) {
	t.Helper()
	a, err := w.car.Access(t.Context())
	require.NoError(t, err)
	require.Equal(t, needs, a.NeedsKey, "%+v", a.Key)
}

// The clock of the machine is set forward: an event that is new looks old.
func TestNewEventThatLooksOld(t *testing.T) {
	eachKeyWord(t, true, func(t *testing.T, w *wrongClock, _ *replica, tells func(bool, time.Time) []byte) {
		w.unpair(t)
		w.clock.step(9 * time.Hour)
		receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
		require.Equal(t, 200, send(t, receiver, tells(false, time.Now())))
		w.needsKey(t, true)
	})
}

// It is set forward while the event is taken, between any two accesses to the store, by a
// process that knows the car and by one that has just begun.
func TestNewEventWhileTheClockIsSet(t *testing.T) {
	for after := 1; after <= 6; after++ {
		t.Run(strconv.Itoa(after), func(t *testing.T) {
			eachKeyWord(t, true, func(t *testing.T, w *wrongClock, db *replica, tells func(bool, time.Time) []byte) {
				w.unpair(t)
				young, _ := machine(t, w.sim, w.client.API(), w.clock, db)
				for _, client := range []*smartcar.Client{w.client, young} {
					receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
					db.arm(after, func() { w.clock.step(9 * time.Hour) })
					require.Equal(t, 200, send(t, receiver, tells(false, time.Now())))
					w.needsKey(t, true)
					require.NoError(t, w.car.SetKeyState(t.Context(), smartcar.KeyInstalled))
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// The clock of the machine is set back: an event from before the key was gone, which
// somebody plays again, looks new. One that is new counts, unless the clock is also that of
// the records: by it, what is known is from the future.
func TestOldEventThatLooksNew(t *testing.T) {
	eachKeyWord(t, false, func(t *testing.T, w *wrongClock, db *replica, tells func(bool, time.Time) []byte) {
		w.clock.step(-9 * time.Hour)
		receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
		require.Equal(t, 200, send(t, receiver, tells(true, time.Now().Add(-2*time.Hour))))
		w.needsKey(t, true)
		closed(t, w.car)
		require.Equal(t, 200, send(t, receiver, tells(true, time.Now())))
		require.NoError(t, w.sim.Pair(w.car.ID()))
		if _, dated := db.Store.(*steppingStore); dated {
			w.read(t)
		}
	})
}

// An event from before the key was there, which somebody plays again, closes nothing.
func TestOldEventOfAMissingKey(t *testing.T) {
	eachKeyWord(t, true, func(t *testing.T, w *wrongClock, _ *replica, tells func(bool, time.Time) []byte) {
		receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
		require.Equal(t, 200, send(t, receiver, tells(false, time.Now().Add(-2*time.Hour))))
		w.needsKey(t, false)
	})
}

// A process begins on a machine whose clock is wrong. Then only the store's shows it.
func TestEventsOnAMachineThatIsWrongFromTheStart(t *testing.T) {
	for _, off := range []time.Duration{-9 * time.Hour, 9 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			eachKeyWord(t, off > 0, func(t *testing.T, w *wrongClock, db *replica, tells func(bool, time.Time) []byte) {
				if _, dated := db.Store.(*steppingStore); !dated {
					t.Skip("nothing shows it")
				}
				wrong := new(steppingClock)
				wrong.step(off)
				client, _ := machine(t, w.sim, w.client.API(), wrong, db)
				receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
				if off > 0 {
					w.unpair(t)
				}
				require.Equal(t, 200, send(t, receiver, tells(off < 0, time.Now().Add(min(0, off)/4))))
				w.needsKey(t, true)
			})
		})
	}
}

// The clock of the machine is ahead, since the process began or for a while, when an answer
// shows that the key is gone: by that clock, the car has said so long ago. An event from
// before, which comes late, is older all the same.
func TestKeySignalOfAnAnswerThatLooksOld(t *testing.T) {
	for _, when := range []string{"later", "from the start"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
				db := newSteppingStore(store.NewMemory())
				right := newWrongClock(t, sim, smartcar.V3, new(steppingClock), db)
				clock := new(steppingClock)
				if when == "from the start" {
					clock.step(9 * time.Hour)
				}
				client, _ := machine(t, sim, smartcar.V3, clock, db)
				if when == "later" {
					clock.step(9 * time.Hour)
				}
				right.car = right.user.Vehicle(smartcartest.Model3)
				wrong := right.on(client)
				_, err := wrong.Battery(t.Context())
				require.NoError(t, err)
				time.Sleep(30 * time.Minute)
				before := time.Now()
				time.Sleep(30 * time.Minute)
				right.unpair(t)
				time.Sleep(time.Minute)
				_, err = wrong.Battery(t.Context())
				require.NoError(t, err)
				right.needsKey(t, true)
				receiver := hookReceiver(t, right.client, smartcar.WebhookOptions{}, nil)
				require.Equal(t, 200, send(t, receiver, keyWords["a signal"](t, right, true, before)))
				right.needsKey(t, true)
			})
		})
	}
}

// The clock of the store is set forward between two deliveries of one event: it came first
// a moment ago, and not nine hours ago.
func TestRepeatedEventWhileTheStoresClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newSteppingStore(store.NewMemory())
		down := &replica{Store: db}
		w := newWrongClock(t, smartcartest.New(), smartcar.V2, new(steppingClock), down)
		w.car = w.user.Vehicle(smartcartest.Model3)
		w.read(t)
		time.Sleep(time.Minute)
		w.unpair(t)
		receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
		body := keyWords["an error"](t, w, false, time.Now())
		down.arm(2, down.die)
		require.Equal(t, 503, send(t, receiver, body))
		time.Sleep(25 * time.Second)
		db.step(9 * time.Hour)
		down.dead = false
		require.Equal(t, 200, send(t, receiver, body))
		w.needsKey(t, true)
	})
}

// The clock of the store is set back between the deliveries of an event that says that the
// key is there. Meanwhile Smartcar has said that it is gone. When the event came first is
// not known any more, so it does not open the car.
func TestRepeatedEventAfterTheStoresClockWasSetBack(t *testing.T) {
	numbered := func(t *testing.T, w *wrongClock, _ bool, signed time.Time) []byte {
		return keyError(t, "numbered", w.user.ID(), w.car.ID(), smartcar.EventErrorResolved, map[string]any{
			"deliveredAt": signed.UnixMilli(), "sequence": 5,
		})
	}
	undated := func(t *testing.T, w *wrongClock, _ bool, _ time.Time) []byte {
		return keyError(t, "undated", w.user.ID(), w.car.ID(), smartcar.EventErrorResolved, map[string]any{"deliveredAt": nil})
	}
	for name, tells := range map[string]func(*testing.T, *wrongClock, bool, time.Time) []byte{
		"an error": keyWords["an error"], "a signal": keyWords["a signal"], "a signal without a date": keyWords["a signal without a date"],
		"a numbered error": numbered, "an error without a date": undated,
	} {
		for _, by := range []time.Duration{-9 * time.Hour, -10 * time.Minute} {
			t.Run(name+" "+by.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					db := newSteppingStore(store.NewMemory())
					w := newWrongClock(t, smartcartest.New(), smartcar.V3, new(steppingClock), db)
					w.car = w.user.Vehicle(smartcartest.Model3)
					w.read(t)
					time.Sleep(10 * time.Minute)
					var failed error
					receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error {
						return failed
					})
					there, gone := tells(t, w, true, time.Now()), keyWords["an error"](t, w, false, time.Now().Add(10*time.Second))
					failed = errOfTheApp
					require.Equal(t, 500, send(t, receiver, there))
					db.step(by)
					time.Sleep(10 * time.Second)
					w.unpair(t)
					failed = nil
					require.Equal(t, 200, send(t, receiver, gone))
					w.needsKey(t, true)
					time.Sleep(15 * time.Second)
					failed = errOfTheApp
					require.Equal(t, 500, send(t, receiver, there))
					w.needsKey(t, true)
					time.Sleep(50 * time.Second)
					failed = nil
					require.Equal(t, 200, send(t, receiver, there))
					w.needsKey(t, true)
				})
			})
		}
	}
}

// An event is overtaken by a newer one, whose time was noted while a clock was set: the
// machine's as the time was noted, or the store's afterwards.
func TestOvertakenEventWhileAClockIsSet(t *testing.T) {
	for _, whose := range []string{"machine", "store"} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			clock := newSteppingStore(store.NewMemory())
			db := &replica{Store: clock}
			w := newWrongClock(t, sim, api, new(steppingClock), db)
			w.read(t)
			time.Sleep(time.Minute)
			set := map[string]*steppingClock{"machine": w.clock, "store": &clock.steppingClock}[whose]
			receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
			for after := 1; after <= 6; after++ {
				numbered := func(state string, n int) []byte {
					return keyError(t, strconv.Itoa(n), w.user.ID(), w.car.ID(), state, map[string]any{"sequence": n})
				}
				ends, began := numbered(smartcar.EventErrorResolved, 2*after), numbered(smartcar.EventErrorBegan, 2*after+1)
				if whose == "store" {
					set.step(4 * time.Hour)
				}
				db.arm(after, func() { set.step(-4 * time.Hour) })
				require.Equal(t, 200, send(t, receiver, began))
				require.Equal(t, 200, send(t, receiver, ends))
				w.needsKey(t, true)
			}
		})
	}
}

// The clock of the store was behind when it was noted that the key is missing, and is set
// right. An event from before, which comes late, is older all the same, for a process that
// has seen the clock go and for one that has just begun. A new one opens the car.
func TestLateEventAfterTheStoresClockWasBehind(t *testing.T) {
	for name, tells := range keyWords {
		if name == "of version 2.0" {
			continue // it cannot say that the key is there
		}
		for _, who := range []string{"has seen it", "has just begun"} {
			t.Run(name+", "+who, func(t *testing.T) {
				onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
					const behind = 5 * time.Hour
					db := newSteppingStore(store.NewMemory())
					db.step(-behind)
					w := newWrongClock(t, sim, api, new(steppingClock), db)
					time.Sleep(12 * time.Hour)
					w.read(t)
					time.Sleep(10 * time.Minute)
					closed(t, w.car)
					db.step(behind)
					client := w.client
					if who == "has just begun" {
						client, _ = machine(t, sim, api, new(steppingClock), db)
					}
					w.car = w.on(client)
					time.Sleep(2 * time.Minute)
					closed(t, w.car)
					receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
					require.Equal(t, 200, send(t, receiver, tells(t, w, true, time.Now().Add(-2*time.Hour))))
					w.needsKey(t, true)
					closed(t, w.car)
					require.NoError(t, sim.Pair(w.car.ID()))
					require.Equal(t, 200, send(t, receiver, tells(t, w, true, time.Now())))
					w.needsKey(t, false)
					w.read(t)
				})
			})
		}
	}
}
