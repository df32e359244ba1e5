// Package web is the service's HTTP side: the API that package client calls, the
// published files, a status page, metrics. It decides nothing: it turns requests
// into calls of settlement.Service and its errors into problems (RFC 9457).
//
// Every refusal is application/problem+json with a stable type, a sentence that
// names field and rule, and, where asking again may help, Retry-After. An error
// of our own says only that; the log has the rest.
//
// Statements come as a stream, compressed or not, and are answered while they come in.
// What a sender can make us hold is bounded: a chunk of a thousand statements for each
// body, as many bytes as were sent of it, and a budget for all together; a body that
// is slow, endless or a bomb ends with a problem, after the answers to what came whole.
// Where the budget is spent, the senders that keep us waiting, or take no answers, make
// room for others, the latest first: who stands still keeps nobody out.
//
// Offers, sessions, channels and receipts are public, as the log is that they come from;
// a receipt comes with what proves it under the newest checkpoint and the first seal. The
// list of all that one renter paid for is handed to who signs the request for it.
//
// /delegate is a page that has a provider's wallet sign a delegation. It runs one script
// that the policy names by its hash, renders the text by itself, and hands in nothing
// that differs from what it showed.
package web
