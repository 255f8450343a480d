package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
)

// pagePolicy lets the page load its own files and nothing else; reportPolicy lets a
// report, which is one file with its own scripts, run apart from the page: in a sandbox
// it has an origin of its own and cannot ask the server anything.
const (
	pagePolicy   = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	reportPolicy = "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// Handler is the server behind its guards.
func (s *Server) Handler() http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		defer s.recovered(w, r)
		if s.cfg.Token == "" && !loopback(r.Host) {
			fail(w, http.StatusMisdirectedRequest, "this server is asked for as localhost, 127.0.0.1 or [::1], not as %q", clip(r.Host))
			return
		}
		if s.cfg.Token != "" && !s.known(w, r) {
			return
		}
		if err := cross.Check(r); err != nil {
			fail(w, http.StatusForbidden, "a request of another site: %v", err)
			return
		}
		if r.Method == http.MethodPost && !isJSON(r.Header.Get("Content-Type")) {
			fail(w, http.StatusUnsupportedMediaType, "the content type is %q, must be application/json", clip(r.Header.Get("Content-Type")))
			return
		}
		slots, of := s.flight, "requests"
		if strings.HasSuffix(r.URL.Path, "/events") {
			slots, of = s.streams, "streams of events"
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			busy(w, "%d %s are open already", cap(slots), of)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		s.routes.ServeHTTP(w, r)
	})
}

// recovered turns a panic into an answer with a number that the log explains.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	fail(w, http.StatusInternalServerError, "internal error %d; the server's log says more", s.panicked(r.Method+" "+r.URL.Path, v))
}

// panicked logs a panic and returns its number.
func (s *Server) panicked(where string, v any) int64 {
	id := s.panics.Add(1)
	s.log.Printf("internal error %d in %q: %v\n%s", id, where, v, debug.Stack())
	return id
}

// loopback reports whether a Host header names this machine by a name that nobody else
// can make point to it: a page of another site that is served for its own name by this
// address (DNS rebinding) does not.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// cookie holds the token once a browser has shown it. Cookies do not tell ports apart,
// so that of another server replaces it, which then asks again.
const cookie = "orrery_token"

// known reports whether a request carries the token, and answers it if not. One that has
// it in its address gets the cookie and is sent to the address without.
func (s *Server) known(w http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	if given := query.Get("token"); given != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if !s.same(given) {
			s.refuse(w)
			return false
		}
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: s.cfg.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		query.Del("token")
		clean := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/"), RawQuery: query.Encode()}
		http.Redirect(w, r, clean.String(), http.StatusSeeOther)
		return false
	}
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && s.same(given) {
		return true
	}
	for _, c := range r.CookiesNamed(cookie) {
		if s.same(c.Value) {
			return true
		}
	}
	s.refuse(w)
	return false
}

func (s *Server) refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="sim serve"`)
	fail(w, http.StatusUnauthorized, "the token is missing or wrong: open the address that sim serve printed, or send Authorization: Bearer TOKEN")
}

// same compares in time that does not depend on where texts differ.
func (s *Server) same(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.cfg.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
