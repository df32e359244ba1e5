package signer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// The protocol: JSON over HTTP, POST only. Each question names the network, so that
// a service and a signer of different networks find out at once.
const (
	pathKeys     = "/v1/keys"
	pathLaneKeys = "/v1/lane-keys"
	pathSign     = "/v1/sign"
)

// maxBody bounds a question or an answer: MaxRequests messages of 4,096 bytes in
// base64 with ten positions each, or as many answers with twelve signatures each.
const maxBody = 1 << 20

// question asks one of the three; each path takes the fields that are its own.
type question struct {
	Network  ionet.Key     `json:"network"`
	Cs       []ionet.Hash  `json:"c,omitempty"`
	Requests []wireRequest `json:"requests,omitempty"`
}

type wireRequest struct {
	Message []byte     `json:"message"` // base64
	Lanes   []Position `json:"lanes,omitempty"`
}

// answer to any of them. A problem is about the whole question.
type answer struct {
	Keys    []ionet.Key  `json:"keys,omitempty"`
	Signed  []wireSigned `json:"signed,omitempty"`
	Problem *Refusal     `json:"problem,omitempty"`
}

type wireSigned struct {
	Signatures map[string]string `json:"signatures,omitempty"` // key -> signature, both base58
	Refused    *Refusal          `json:"refused,omitempty"`
}

// parseQuestion reads a question; unknown fields, trailing data and more than the
// bounds of one call are refused.
func parseQuestion(r io.Reader) (question, error) {
	var q question
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return question{}, fmt.Errorf("read question: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return question{}, errors.New("read question: something follows it")
	}
	if len(q.Cs) > MaxLaneKeys || len(q.Requests) > MaxRequests {
		return question{}, fmt.Errorf("read question: it asks for %d lane keys and %d signatures, %d and %d are the most", len(q.Cs), len(q.Requests), MaxLaneKeys, MaxRequests)
	}
	for i, r := range q.Requests {
		if len(r.Message) > chain.MaxSizeV1 || len(r.Lanes) > chain.MaxSteps {
			return question{}, fmt.Errorf("read question: message %d has %d bytes and %d lanes, more than any transaction", i, len(r.Message), len(r.Lanes))
		}
	}
	return q, nil
}

func (q question) list() []Request {
	list := make([]Request, len(q.Requests))
	for i, r := range q.Requests {
		list[i] = Request(r)
	}
	return list
}

func wireOf(list []Signed) []wireSigned {
	out := make([]wireSigned, len(list))
	for i, s := range list {
		out[i].Refused = s.Refused
		for key, signature := range s.Signatures {
			if out[i].Signatures == nil {
				out[i].Signatures = map[string]string{}
			}
			out[i].Signatures[key.String()] = signature.String()
		}
	}
	return out
}

func (w wireSigned) signed() (Signed, error) {
	s := Signed{Refused: w.Refused}
	for name, text := range w.Signatures {
		key, err := ionet.ParseKey(name)
		if err != nil {
			return Signed{}, err
		}
		signature, err := chain.ParseSignature(text)
		if err != nil {
			return Signed{}, err
		}
		if s.Signatures == nil {
			s.Signatures = map[ionet.Key]chain.Signature{}
		}
		s.Signatures[key] = signature
	}
	return s, nil
}
