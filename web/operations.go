package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

type nothing struct{}

type beaconInput struct {
	Epoch  uint64 `query:"epoch" required:"true"`
	Sample uint16 `query:"sample" required:"true"`
}

type limitInput struct {
	Limit int `query:"limit" default:"24" minimum:"1" maximum:"1000" doc:"How many, the latest first"`
}

type epochInput struct {
	Epoch uint64 `path:"epoch"`
}

type deviceInput struct {
	Device ionet.UUID `path:"device"`
	Epoch  uint64     `path:"epoch"`
}

type keyInput struct {
	Key ionet.Key `path:"key" doc:"base58"`
}

type claimInput struct{ Body client.ClaimRequest }

type submissionInput struct{ Body client.ClaimSubmission }

type messageInput struct {
	Message ionet.Hash `path:"message" doc:"SHA-256 of the claim's message bytes"`
}

// operations registers the JSON API.
func (h *handler) operations(api huma.API) {
	get(h, api, "/v1/head", "Where the network and the service are", h.head)
	get(h, api, "/v1/beacon", "A finalized block of a sample", h.beacon)
	get(h, api, "/v1/workers/{key}", "What the service has of a worker", h.worker)
	get(h, api, "/v1/epochs", "The latest epochs", h.epochs)
	get(h, api, "/v1/epochs/{epoch}", "One epoch", h.epoch)
	get(h, api, "/v1/prices/{epoch}", "The price that was observed for an epoch", h.price)
	get(h, api, "/v1/epochs/{epoch}/verdicts", "All verdicts of an epoch", heavily(h, h.verdicts))
	get(h, api, "/v1/devices/{device}/epochs/{epoch}", "A device's verdicts in an epoch, with inclusion proofs", heavily(h, h.device))
	get(h, api, "/v1/rules", "The table of rules", h.rules)
	get(h, api, "/v1/providers/{key}", "What a payout wallet has earned", h.provider)
	get(h, api, "/v1/providers/{key}/earnings", "What sealed epochs decided on a wallet's devices, page by page", h.earnings)
	get(h, api, "/v1/policies", "The policies that were announced, the genesis policy first", h.policies)
	get(h, api, "/v1/payments", "The latest payments", h.payments)
	get(h, api, "/v1/payouts", "What goes out, lane by lane, and what waits", h.payouts)
	register(h, api, http.MethodPost, "/v1/claims", "Prepare a claim for a wallet to sign", h.prepareClaim)
	register(h, api, http.MethodPost, "/v1/claims/submit", "Hand in a signed claim", h.submitClaim)
	get(h, api, "/v1/claims/{message}", "Where a claim is", h.claim)
	get(h, api, payPrefix+"claim", "Solana Pay: who asks for the claim to be signed", h.payLabel)
	register(h, api, http.MethodPost, payPrefix+"claim", "Solana Pay: a claim that lacks the wallet's signature alone", h.payClaim)
}

func (h *handler) head(ctx context.Context, _ *nothing) (client.Head, error) {
	at, err := h.service.Head(ctx)
	if err != nil {
		return client.Head{}, err
	}
	n := h.service.Network()
	return client.Head{
		Instance: client.ID(h.service.Instance()), Network: ionet.Key(n.ID()), Name: n.Name, Mint: n.Mint, Decimals: n.Decimals,
		Epoch: at.Epoch, Sample: at.Sample, Time: at.Now.Unix(), Sealed: at.Sealed,
	}, nil
}

func (h *handler) beacon(ctx context.Context, in *beaconInput) (client.Beacon, error) {
	b, err := h.service.Beacon(ctx, in.Epoch, in.Sample)
	return client.Beacon{Slot: b.Slot, Blockhash: b.Hash, Time: b.Time}, err
}

func (h *handler) worker(ctx context.Context, in *keyInput) (client.WorkerStatus, error) {
	w, err := h.service.WorkerStatus(ctx, in.Key)
	return client.WorkerStatus{
		Worker: w.Worker, Provider: w.Provider, Payee: w.Payee, Delegation: w.Delegation, Inventory: w.Inventory, Devices: w.Devices,
		LastStatement: w.LastStatement, LastEpoch: w.LastEpoch, LastSample: w.LastSample,
	}, err
}

func (h *handler) epochs(ctx context.Context, in *limitInput) (client.Epochs, error) {
	list, err := h.service.Epochs(ctx, in.Limit)
	out := client.Epochs{Epochs: make([]client.Epoch, len(list))}
	for i, e := range list {
		out.Epochs[i] = wireEpoch(e)
	}
	return out, err
}

func (h *handler) epoch(ctx context.Context, in *epochInput) (client.Epoch, error) {
	e, err := h.service.Epoch(ctx, in.Epoch)
	return wireEpoch(e), err
}

func (h *handler) price(ctx context.Context, in *epochInput) (client.Price, error) {
	p, err := h.service.Price(ctx, in.Epoch)
	if err != nil {
		return client.Price{}, err
	}
	return client.Price{Epoch: p.Epoch, ID: p.ID, Observer: p.Observer, Observed: p.Observed.Unix(), MicroUSD: p.MicroUSD, Ack: p.Ack.Append(nil)}, nil
}

func (h *handler) verdicts(ctx context.Context, in *epochInput) (client.Verdicts, error) {
	e, err := h.service.Epoch(ctx, in.Epoch)
	if err != nil {
		return client.Verdicts{}, err
	}
	list, err := h.service.Verdicts(ctx, in.Epoch)
	out := client.Verdicts{Epoch: in.Epoch, Root: e.VerdictsRoot, Verdicts: make([]client.Verdict, len(list))}
	for i, v := range list {
		out.Verdicts[i] = wireVerdict(v)
	}
	return out, err
}

func (h *handler) device(ctx context.Context, in *deviceInput) (client.DeviceEpoch, error) {
	list, err := h.service.DeviceVerdicts(ctx, in.Device, in.Epoch)
	if err != nil {
		return client.DeviceEpoch{}, err
	}
	e, err := h.service.Epoch(ctx, in.Epoch)
	out := client.DeviceEpoch{Epoch: wireEpoch(e), Verdicts: make([]client.ProvenVerdict, len(list))}
	for i, v := range list {
		out.Verdicts[i] = client.ProvenVerdict{Verdict: wireVerdict(v.Verdict), Index: uint64(v.Index), Proof: v.Proof}
	}
	return out, err
}

func (h *handler) rules(context.Context, *nothing) (client.Rules, error) {
	var out client.Rules
	for _, r := range proofs.Rules() {
		out.Rules = append(out.Rules, client.Rule{Rule: uint16(r), Name: r.Name(), Text: r.Text(), Evidence: r.Evidence()})
	}
	return out, nil
}

func (h *handler) provider(ctx context.Context, in *keyInput) (client.Provider, error) {
	p, err := h.service.Provider(ctx, in.Key)
	if err != nil {
		return client.Provider{}, err
	}
	fees, err := h.service.FeesOf(ctx, in.Key)
	out := client.Provider{
		Wallet: in.Key, Earned: p.Earned, Paid: p.Paid, InFlight: p.InFlight, Claimable: p.Claimable,
		Devices: p.Devices, Decimals: h.service.Network().Decimals,
		FeesOwed: fees.Owed, FeesInFlight: fees.InFlight, FeesPaid: fees.Paid,
	}
	if p.Held != nil {
		held := wireHeld(*p.Held)
		out.Held = &held
	}
	return out, err
}

func (h *handler) policies(ctx context.Context, _ *nothing) (client.Policies, error) {
	list, err := h.service.Policies(ctx)
	out := client.Policies{Policies: make([]client.Policy, len(list))}
	for i, p := range list {
		out.Policies[i] = client.Policy{
			Version: p.Version, FirstEpoch: p.FirstEpoch, Hash: p.Policy, Statement: p.Statement, Announced: p.Announced, Sealed: p.Sealed, State: string(p.State),
		}
	}
	return out, err
}

func (h *handler) payments(ctx context.Context, in *limitInput) (client.Payments, error) {
	list, err := h.service.Payments(ctx, in.Limit)
	out := client.Payments{Payments: make([]client.Payment, len(list))}
	for i, p := range list {
		out.Payments[i] = client.Payment{
			Kind: p.Kind.String(), Payee: p.Payee, Amount: p.Amount, State: string(p.State), Lane: p.Lane, Position: p.Position,
			Slot: p.Slot, Time: p.Created.Unix(),
		}
		if !p.Signature.IsZero() {
			out.Payments[i].Signature = p.Signature.String()
		}
	}
	return out, err
}

func wireEpoch(e settlement.Epoch) client.Epoch {
	w := client.Epoch{
		Epoch: e.Epoch, State: string(e.State), Emission: e.Emission, Sum: e.Sum, Unissued: e.Unissued, Verdicts: e.Verdicts,
		InputsRoot: e.InputsRoot, VerdictsRoot: e.VerdictsRoot, Book: e.BookRoot, Policy: e.Policy, Memo: e.Memo, Slot: e.Slot, Draw: e.Draw,
	}
	if e.PriceEpoch > 0 {
		w.Price = &client.UsedPrice{Epoch: e.PriceEpoch, MicroUSD: e.MicroUSD}
	}
	if !e.Signature.IsZero() {
		w.Signature = e.Signature.String()
	}
	return w
}

func wireVerdict(v proofs.Verdict) client.Verdict {
	return client.Verdict{
		Device: v.UUID, Worker: v.Worker, Provider: v.Provider, Payee: v.Payee, Rule: uint16(v.Rule), Name: v.Rule.Name(), Text: v.Rule.Text(),
		Samples: v.Samples, Weight: v.Weight, Evidence: v.Evidence, Amount: v.Amount,
	}
}
