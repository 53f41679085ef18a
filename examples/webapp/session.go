package main

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

// sessions stand in for what an application has already: accounts, and who is
// signed in. They are in memory, and anybody may sign in under any name.
type sessions struct {
	mu     sync.Mutex
	open   map[string]*session // by the value of the cookie
	owners map[string]string   // Smartcar's id of the user, by account
}

type session struct {
	account string
	expires time.Time
	notice  notice
}

// A notice is shown once, on the next page.
type notice struct {
	Text    string
	Bad     bool
	KeyLink string // where the key is added, if that is what is missing
	MapLink string // where the car is, on a map
}

const (
	sessionCookie = "session"
	sessionLife   = 12 * time.Hour
	mostSessions  = 10_000 // anybody may open one, and memory is finite
)

func newSessions() *sessions {
	return &sessions{open: make(map[string]*session), owners: make(map[string]string)}
}

// signIn begins a session under a new name, so that nobody can have planted it,
// and ends the one that came with the request.
func (s *sessions) signIn(w http.ResponseWriter, r *http.Request, account string, secure bool) {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		delete(s.open, cookie.Value)
	}
	now := time.Now()
	s.makeRoom(now)
	s.open[id] = &session{account: account, expires: now.Add(sessionLife)}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", MaxAge: int(sessionLife / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode, // the way back from Connect is a navigation
	})
}

// makeRoom ends what has expired and, if that is not enough, the oldest session.
func (s *sessions) makeRoom(now time.Time) {
	oldest, first := "", now.Add(sessionLife)
	for key, old := range s.open {
		if now.After(old.expires) {
			delete(s.open, key)
		} else if old.expires.Before(first) {
			oldest, first = key, old.expires
		}
	}
	if len(s.open) >= mostSessions {
		delete(s.open, oldest)
	}
}

func (s *sessions) signOut(w http.ResponseWriter, r *http.Request, secure bool) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.open, cookie.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode})
}

// find calls f with what is kept for the visitor, if there is anything.
func (s *sessions) find(r *http.Request, f func(*session)) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.open[cookie.Value]; found != nil && time.Now().Before(found.expires) {
		f(found)
	}
}

// account is who is signed in; empty for nobody.
func (s *sessions) account(r *http.Request) (account string) {
	s.find(r, func(found *session) { account = found.account })
	return account
}

// owner is Smartcar's id of who is signed in; empty before they connected.
func (s *sessions) owner(r *http.Request) (userID string) {
	s.find(r, func(found *session) { userID = s.owners[found.account] })
	return userID
}

func (s *sessions) setOwner(account, userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[account] = userID
}

func (s *sessions) tell(r *http.Request, n notice) {
	s.find(r, func(found *session) { found.notice = n })
}

func (s *sessions) takeNotice(r *http.Request) (n notice) {
	s.find(r, func(found *session) { n, found.notice = found.notice, notice{} })
	return n
}
