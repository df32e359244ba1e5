package rpc

import (
	"context"
	"errors"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// HistoryPage returns one page of History: the newest finalized transactions that
// name address, older than before (zero: from the newest), back to but without until
// (zero: to the first). An empty page is the end. It is for callers that read a
// history over several passes, and go on where they were. A bound that the endpoint
// does not know is an error of which IsUnknownBound is true.
func (c *Client) HistoryPage(ctx context.Context, address ionet.Key, before, until chain.Signature, minContextSlot uint64) ([]Entry, error) {
	return c.page(ctx, address, before, until, minContextSlot)
}

// codeUnknownBound: Agave knows no transaction of that signature.
const codeUnknownBound = -32020

// IsUnknownBound reports whether a page was refused because the endpoint does not
// know where it begins or ends: it has pruned that, or never had it.
func IsUnknownBound(err error) bool {
	var node *Error
	return errors.As(err, &node) && node.Code == codeUnknownBound
}
