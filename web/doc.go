// Package web is the service's HTTP side: the API that package client calls, the
// published files, a status page, metrics. It decides nothing: it turns requests
// into calls of settlement.Service and its errors into problems (RFC 9457).
//
// Every refusal is application/problem+json with a stable type, a sentence that
// names field and rule, and, where asking again may help, Retry-After. An error
// of our own says only that; the log has the rest.
package web
