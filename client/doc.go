// Package client holds the wire types of the service's HTTP API and the calls that a
// worker, a provider's command or any other program makes.
//
// Every call may be repeated: a statement is known by its id, a claim by its message,
// so the client itself tries again after a lost answer, 429, 502, 503 and 504. What
// the service refuses is a *Problem:
//
//	if client.IsProblem(err, client.StaleBeacon) { ... }
//
// A Purse is for renters' software: it pays workers for inferences out of a session, and
// ProxyHandler serves OpenAI's API out of it. How that stays exact is in DESIGN.md.
//
//	p, err := client.OpenPurse(client.PurseConfig{Service: api, Network: network, Key: key, Session: session, Dir: dir})
//	a, err := p.Do(ctx, client.Inference{Path: client.PathChat, Body: body})
//	receipt, paid := a.Receipt()
//
// Amounts travel as strings of base units, keys as base58, hashes as hexadecimal,
// times as Unix seconds, statements as the envelopes of proofs/FORMAT.md.
package client
