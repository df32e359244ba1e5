// Package rpc reads a Solana cluster and hands transactions to it through one
// or more JSON-RPC endpoints that may lag, lie, limit, cut or hang.
//
// What a caller may rely on:
//   - Every answer comes from one endpoint; values of two are never combined. A
//     blockhash comes with the block height that ends it, from the same answer.
//   - Every read names its commitment, and the slot that the answer may not be
//     older than where the method has one.
//   - Reads go to the next endpoint, after a pause, when one does not answer or
//     says that it lags; Send never repeats itself: the caller owns resending.
//   - What is read everywhere (Everywhere, CheckDead, GenesisHash) holds on all
//     endpoints or is an error: one silent endpoint is enough to not know.
//   - With Config.Cluster no answer is believed of an endpoint that has not told that
//     genesis hash; one that is away tells it when it is back.
//   - Send tells apart what a node refused before execution and what is unknown.
//     Neither means that the transaction can't land: see CheckDead.
//
// Errors name an endpoint by its host only; paths and queries of endpoint URLs
// often carry an access key. solana-go's rpc client is not used because its
// errors print whole URLs, its answers drop context slots, and one unknown
// field beside "result" makes it lose an answer.
package rpc
