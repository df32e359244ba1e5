package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/worker"
	"github.com/ionet-settlement/ionet/worker/meter"
)

// sold is what a host that serves renters has earned, for status.
func (m *membership) sold() (*meter.Status, error) {
	return meter.ReadStatus(m.folder.MeterPath(), m.network, m.worker())
}

// showSold prints offer, channels and refusals, nothing where nothing was ever sold.
func (m *membership) showSold(s *stage) error {
	sold, err := m.sold()
	if err != nil || sold == nil {
		return err
	}
	if o := sold.Offer; o != nil {
		taken := "the service has it"
		if !sold.Taken {
			taken = "the service does not have it yet"
		}
		s.print("offer %.12s of %d models at %s until %s, %s", sold.OfferID, len(o.Models), o.Endpoint, time.Unix(o.Expires, 0).UTC().Format(time.RFC3339), taken)
		for _, p := range o.Models {
			s.print("  %s: %s IO per %d %ss", p.Name, p.Price.Tokens(m.network.Decimals), p.Per, p.Unit)
		}
	}
	s.print("fees %s IO of %d jobs in %d channels; %d jobs are not sealed, %d statements not acked, %d jobs wait for a batch, journal %d bytes",
		m.tokens(sold.Fees), sold.Jobs, len(sold.Channels), sold.Unsealed, sold.Unacked, sold.Loose, sold.Bytes)
	for _, c := range sold.Channels {
		s.print("channel %s of renter %s: %s of %s IO, voucher for %s, %d jobs, %d not sealed, until %s", c.Channel, c.Renter, m.tokens(c.Spent), m.tokens(c.Limit),
			m.tokens(c.Covered), c.Jobs, c.Unsealed, time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
		if c.Stuck != "" {
			s.print("  nothing is served on it any more: %s", c.Stuck)
		}
	}
	for _, r := range sold.Refusals {
		s.print("refused by the service: %s %s: %s", r.Kind, r.ID, r.Problem)
	}
	return nil
}

func (m *membership) tokens(a ionet.Amount) string { return a.Tokens(m.network.Decimals) }

// examineSale looks at the offer file, its back ends and its endpoint.
func examineSale(ctx context.Context, path string, m *membership) (list worker.Findings) {
	f, err := meter.ReadOfferFile(path)
	if err != nil {
		return worker.Findings{{Check: "offer", Level: worker.LevelFail, Text: err.Error(), Fix: "mend the file; ionet-worker run --help shows one"}}
	}
	list = append(list, worker.Finding{Check: "offer", Level: worker.LevelOK, Text: fmt.Sprintf("%d models at %s", len(f.Models), f.Endpoint)})
	for _, b := range meter.CheckBackEnds(ctx, f, nil) {
		finding := worker.Finding{Check: "back end", Level: worker.LevelOK, Text: fmt.Sprintf("%s answers for model %s", b.Backend, b.Model)}
		switch {
		case b.Err != nil:
			finding.Level, finding.Text = worker.LevelFail, fmt.Sprintf("%s for model %s: %v", b.Backend, b.Model, b.Err)
			finding.Fix = "start the back end, or mend backend and authorization in the offer file"
		case b.NoList:
			finding.Level, finding.Text = worker.LevelWarn, fmt.Sprintf("%s answers, and has no list of models at %s: whether it serves model %s is not known", b.Backend, b.Asked, b.Model)
			finding.Fix = "ask it for a completion of upstream yourself, or have it answer GET /v1/models"
		case !b.Listed:
			finding.Level, finding.Text = worker.LevelWarn, fmt.Sprintf("%s answers, and does not list what serves model %s", b.Backend, b.Model)
			finding.Fix = "compare upstream in the offer file with the back end's own name of the model"
		}
		list = append(list, finding)
	}
	if m.key == nil {
		return list
	}
	if err := meter.CheckEndpoint(ctx, f, m.worker(), nil); err != nil {
		return append(list, worker.Finding{Check: "endpoint", Level: worker.LevelWarn, Text: fmt.Sprintf("%s: %v", f.Endpoint, err),
			Fix: "renters come there: start ionet-worker run --serve, and let the reverse proxy in front pass on to it"})
	}
	return append(list, worker.Finding{Check: "endpoint", Level: worker.LevelOK, Text: f.Endpoint + " is this worker"})
}
