package signer

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/ionet-settlement/ionet"
)

// Handler answers the protocol for s. Who may ask is decided where it listens.
func Handler(s *Server) http.Handler {
	mux := http.NewServeMux()
	ask := func(path string, f func(r *http.Request, q question) (answer, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, f) })
	}
	ask(pathKeys, func(r *http.Request, _ question) (a answer, err error) {
		a.Keys, err = s.Keys(r.Context())
		return a, err
	})
	ask(pathLaneKeys, func(r *http.Request, q question) (a answer, err error) {
		a.Keys, err = s.LaneKeys(r.Context(), q.Cs)
		return a, err
	})
	ask(pathSign, func(r *http.Request, q question) (answer, error) {
		list, err := s.Sign(r.Context(), q.list())
		return answer{Signed: wireOf(list)}, err
	})
	return mux
}

// answer reads the question, asks f and writes what it says.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request, question) (answer, error)) {
	q, err := parseQuestion(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, http.StatusBadRequest, answer{Problem: refuse("form", "question", "%v", err)})
		return
	}
	if network := ionet.Key(s.policy.Network.ID()); q.Network != network {
		write(w, http.StatusBadRequest, answer{Problem: refuse("network", "network", "this signer is of network %s, the question is of %s", network, q.Network)})
		return
	}
	a, err := f(r, q)
	switch {
	case errors.Is(err, ErrNoSecret):
		write(w, http.StatusNotFound, answer{Problem: refuse("no-secret", "c", "%v", err)})
	case err != nil:
		write(w, http.StatusInternalServerError, answer{Problem: refuse("journal", "", "%v", err)})
	default:
		write(w, http.StatusOK, a)
	}
}

func write(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(a) // whoever asked sees that it is cut
}
