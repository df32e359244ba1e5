package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// problem is a client.Problem as an answer.
type problem struct {
	client.Problem
	headers http.Header
}

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header { return p.headers }

// Error implements error.
func (p *problem) Error() string { return p.Problem.Error() }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return client.ProblemMediaType }

func newProblem(status int, kind, title, field, detail string) *problem {
	return &problem{Problem: client.Problem{
		Type: client.ProblemPrefix + kind, Title: title, Status: status, Detail: detail, Field: field,
	}}
}

// wireProblem is the settlement's problem as the wire has it.
func wireProblem(p *settlement.Problem) *problem {
	detail := p.Detail
	if !strings.Contains(detail, p.Field) {
		detail = p.Field + ": " + detail // the sentence alone must name the field
	}
	w := newProblem(p.Status, p.Type, p.Title, p.Field, detail)
	if p.Retry > 0 {
		w.retry(p.Retry)
	}
	return w
}

// retry says when asking again may help, to whoever reads the header and whoever
// reads the body alone. Both count whole seconds.
func (p *problem) retry(d time.Duration) {
	seconds := max(1, int64(math.Ceil(d.Seconds())))
	p.RetryAfter = time.Duration(seconds) * time.Second
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// asProblem turns an error of the settlement into an answer. What an outsider
// caused is told; anything else is logged and told as "internal".
func asProblem(log *slog.Logger, err error) *problem {
	var told *problem
	if errors.As(err, &told) {
		return told
	}
	var p *settlement.Problem
	if errors.As(err, &p) {
		return wireProblem(p)
	}
	if errors.Is(err, context.Canceled) { // the caller hung up
		log.Debug("answer request", "error", err)
	} else {
		log.Error("answer request", "error", err)
	}
	return newProblem(http.StatusInternalServerError, client.Internal, "The service failed", "", "The service failed to answer; nothing of the request was lost that was acknowledged. Try again.")
}

func (p *problem) write(w http.ResponseWriter) {
	for k, v := range p.headers {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", client.ProblemMediaType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // the connection may be gone; nobody is left to tell
}

// huma makes errors through this variable; ours have stable types.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return refusal(status, message, errs)
	}
}

// refusal names what huma refuses before a handler is called.
func refusal(status int, message string, errs []error) *problem {
	field := ""
	var parts []string
	for _, err := range errs {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			parts = append(parts, err.Error())
			continue
		}
		if field == "" {
			field = d.Location
		}
		parts = append(parts, strings.TrimSpace(d.Location+": "+d.Message))
	}
	detail := message
	if len(parts) > 0 {
		detail = strings.Join(parts, "; ")
	}
	inBody := field == "body" || strings.HasPrefix(field, "body.")
	field = field[strings.LastIndexByte(field, '.')+1:]
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return newProblem(status, client.BodyTooLarge, "The request is too large", "body", detail)
	case status == http.StatusUnsupportedMediaType:
		return newProblem(status, client.WrongMediaType, "The Content-Type is not accepted", "Content-Type", detail)
	case status == http.StatusNotFound:
		return newProblem(status, client.NotFound, "There is nothing here", field, detail)
	case status >= 500:
		return newProblem(status, client.Internal, "The service failed", "", detail)
	case inBody || status == http.StatusBadRequest:
		return newProblem(http.StatusBadRequest, client.MalformedJSON, "The request is not the JSON that is expected", field, detail)
	}
	return newProblem(http.StatusUnprocessableEntity, client.InvalidParameter, "A parameter is not valid", field, detail)
}
