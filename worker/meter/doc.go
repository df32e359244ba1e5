// Package meter is a GPU host's till: an OpenAI-compatible reverse proxy that serves
// renters for vouchers. For each request that it serves it signs a job statement, keeps
// it durably before the answer leaves, and hands it to the service.
//
// A request needs a channel to this worker, whose opening the service acked, and a
// voucher on it. It is admitted only where what the channel has spent, what its other
// running requests may cost and what this one may cost together stay within the voucher
// and the channel's limit; what is billed is never above that. So no renter is charged
// beyond his word, and no fee is earned that the service would not pay: each request is
// held against proofs.FeeTerms, the service's own rules, before it runs.
//
// The service is not asked for any of this. While it is away requests are served, up to
// what the journal may hold, the channels' limits and the bounds of Config.
//
//	m, err := meter.New(meter.Config{...})
//	go m.Run(ctx)            // sends jobs and offers until they are acked and sealed
//	http.Serve(l, m.Handler())
//
// What is durable when, and what a crash leaves, is in DESIGN.md.
package meter
