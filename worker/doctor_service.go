package worker

import (
	"context"
	"errors"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
)

// Clocks that differ by more make trouble beyond the worker: certificates seem expired,
// and without the service nobody knows when a reading was made.
const (
	clockSlack = 2 * time.Second
	clockWrong = 5 * time.Minute
)

// CheckService asks the service for what it says of itself, of the time, and of the
// worker. network is the one that the folder joined, zeros for none yet; running says that
// the worker runs in its folder.
func CheckService(ctx context.Context, api *client.Client, network ionet.Hash, worker ionet.Key, running bool, now func() time.Time) Findings {
	var f Findings
	asked := now()
	head, err := api.Head(ctx)
	if err != nil {
		f.fail("service", "is --server right, does this host reach it, does a firewall or a proxy stand between?", "%v", err)
		return f
	}
	answered := now()
	if id := ionet.Key(network); !network.IsZero() && head.Network != id {
		f.fail("service", "give the --server of that network, or another --dir", "%s serves network %s, this worker joined %s", api.Server(), head.Network, id)
		return f
	}
	f.ok("service", "%s serves network %s %s, epoch %d sample %d, sealed through %d", api.Server(), head.Name, head.Network, head.Epoch, head.Sample, head.Sealed)
	middle := asked.Add(answered.Sub(asked) / 2)
	skew := time.Unix(head.Time, 0).Add(500 * time.Millisecond).Sub(middle) // it tells whole seconds
	checkClock(&f, "clock", "service's", skew, answered.Sub(asked)/2)
	checkKnown(ctx, &f, api, worker, running, head)
	return f
}

// checkClock reports how far another clock is ahead of ours, within slack.
func checkClock(f *Findings, check, whose string, ahead, slack time.Duration) {
	fix := "let the host set its clock: timedatectl set-ntp true"
	off := ahead.Abs().Round(100 * time.Millisecond)
	way := "behind"
	if ahead < 0 {
		way = "ahead of"
	}
	switch {
	case off <= slack:
		f.ok(check, "this host's clock agrees with the %s", whose)
	case off < clockSlack+slack:
		f.ok(check, "this host's clock agrees with the %s, it is %s %s it", whose, off, way)
	case off < clockWrong:
		f.warn(check, fix, "this host's clock is %s %s the %s", off, way, whose)
	default:
		f.fail(check, fix, "this host's clock is %s %s the %s", off, way, whose)
	}
}

// checkKnown tells what the service has of the worker.
func checkKnown(ctx context.Context, f *Findings, api *client.Client, worker ionet.Key, running bool, head client.Head) {
	if worker.IsZero() {
		return
	}
	start := "start the worker: its first statement registers it"
	if running {
		start = "the worker runs: its log says what it waits for, or what was refused (journalctl -u ionet-worker under systemd)"
	}
	w, err := api.Worker(ctx, worker)
	switch {
	case client.IsProblem(err, client.UnknownWorker):
		f.warn("registered", start, "the service does not know worker %s yet", worker)
	case err != nil:
		f.warn("registered", "ask again when the service answers", "%v", err)
	case w.LastEpoch == 0:
		f.warn("registered", start, "the service knows %d devices of this worker and has no sample of it", w.Devices)
	case head.Epoch > w.LastEpoch+1:
		f.warn("registered", start, "the service has nothing newer of this worker than epoch %d sample %d", w.LastEpoch, w.LastSample)
	default:
		f.ok("registered", "the service knows %d devices of this worker, its last sample is %d of epoch %d", w.Devices, w.LastSample, w.LastEpoch)
	}
}

// CheckRevoked asks the service whether the delegation in the folder was revoked.
func (f *Folder) CheckRevoked(ctx context.Context, api *client.Client, worker ionet.Key) Findings {
	var list Findings
	e, err := f.Delegation()
	if err != nil {
		return nil // there is a finding about that
	}
	known, err := api.DelegationsBy(ctx, worker, e.Signer)
	if err != nil {
		list.warn("revoked", "ask again when the service answers", "whether the delegation was revoked is not known: %v", err)
		return list
	}
	for _, d := range known {
		switch {
		case d.ID != e.ID():
		case d.Revoked > 0:
			list.fail("revoked", "the provider's wallet signs a new one: ionet-worker init --provider <wallet> prints link and text", "the provider revoked the delegation in epoch %d", d.Revoked)
			return list
		default:
			list.ok("revoked", "the service has the delegation, and it is not revoked")
			return list
		}
	}
	list.warn("revoked", "start the worker: it presents the delegation", "the service does not have the delegation of this folder")
	return list
}

// CheckChain compares the chain's newest finalized block with this host's clock. Such a
// block is some seconds old, and the cluster's time is a vote of its validators.
func CheckChain(ctx context.Context, cluster *rpc.Client, now func() time.Time) Findings {
	var f Findings
	err := cluster.CheckCluster(ctx)
	var other *rpc.ClusterError
	if errors.As(err, &other) {
		f.fail("chain", "give the --rpc of the network's cluster", "%v", err)
		return f
	}
	block, err := cluster.Newest(ctx)
	if err != nil {
		f.fail("chain", "is --rpc right, and does it let this host in?", "%v", err)
		return f
	}
	const usual = 15 * time.Second
	f.ok("chain", "slot %d is final", block.Slot)
	checkClock(&f, "chain clock", "chain's", time.Unix(block.Time, 0).Add(usual).Sub(now()), usual*2)
	return f
}
