package proofs

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// drawWorld makes a small world in which anything can be wrong.
func drawWorld(r *rapid.T, t *testing.T) *world {
	w := newWorld(t)
	workers := []string{"a", "b", "c"}
	for n := range 4 {
		if rapid.IntRange(0, 3).Draw(r, "bound") == 0 {
			w.in.Bindings = append(w.in.Bindings, Binding{UUID: device(n), Worker: public(rapid.SampledFrom(workers).Draw(r, "binding")), Since: 1, Last: 5})
		}
	}
	if rapid.IntRange(0, 4).Draw(r, "beacons") == 0 {
		w.in.Beacons = w.in.Beacons[1:]
	}
	var delegations []ionet.Hash
	issued, expires := always()
	delegations = append(delegations, w.delegate("p", issued, expires, workers...))
	for i := range 2 {
		issued, expires := always()
		issued += rapid.SampledFrom([]int64{0, 0, 0, 1000 + 6*50 + 20, 1000 + 7*50}).Draw(r, "issued")
		expires = rapid.SampledFrom([]int64{expires, expires, issued + 1, testClock.SampleStart(worldEpoch, 3)}).Draw(r, "expires")
		named := workers[:rapid.IntRange(1, 3).Draw(r, "workers")]
		d := w.delegate(fmt.Sprint("p", i), issued, max(expires, issued+1), named...)
		delegations = append(delegations, d)
		if rapid.IntRange(0, 5).Draw(r, "revoked") == 0 {
			w.revoke(fmt.Sprint("p", rapid.IntRange(0, 2).Draw(r, "revoker")), d, Arrival{rapid.Uint64Range(worldEpoch-2, worldEpoch).Draw(r, "epoch"), 0})
		}
	}
	for _, name := range workers {
		drawHost(r, w, name, delegations)
	}
	return w
}

// drawIdle has the policy ask for jobs, gives some workers one and makes some
// devices busy.
func drawIdle(r *rapid.T, w *world) {
	w.askForJobs(rapid.SampledFrom([]uint8{0, 49, 50, 99}).Draw(r, "idle utilization"), rapid.Uint16Range(0, 3).Draw(r, "idle samples"))
	for _, name := range []string{"a", "b", "c"} {
		works := slices.ContainsFunc(w.in.Statements, func(s Statement) bool {
			return s.Envelope.Kind == KindUptime && s.Envelope.Signer == public(name)
		})
		served := rapid.Int64Range(testClock.EpochStart(worldEpoch), testClock.EpochEnd(worldEpoch)-1)
		if kind := rapid.IntRange(0, 4).Draw(r, "job"); works && kind == 0 {
			w.job(name, served.Draw(r, "served"))
		} else if works && kind == 1 {
			w.batch(name, served.Draw(r, "served"))
		}
	}
}

// drawDelegation draws the one that is in order, mostly.
func drawDelegation(r *rapid.T, delegations []ionet.Hash) ionet.Hash {
	if i := rapid.IntRange(0, 9).Draw(r, "delegation"); i < len(delegations) {
		return delegations[i]
	} else if i == 9 {
		return ionet.HashOf([]byte("nowhere"))
	}
	return delegations[0]
}

func drawHost(r *rapid.T, w *world, name string, delegations []ionet.Hash) {
	var hosts []*host
	for i := range rapid.IntRange(1, 2).Draw(r, "inventories") {
		var gpus []gpu
		for n := range 4 {
			if rapid.Bool().Draw(r, "device") {
				gpus = append(gpus, gpu{n, rapid.SampledFrom([]string{h100, h100, h100, rtx4090, rtx4090, a10, "?"}).Draw(r, "model")})
			}
		}
		if len(gpus) == 0 {
			gpus = []gpu{{i, h100}}
		}
		hosts = append(hosts, w.hostAt(name, drawDelegation(r, delegations), Arrival{uint64(worldEpoch - 1 + i), 0},
			rapid.IntRange(0, 5).Draw(r, "simulated") == 0, gpus...))
	}
	samples := rapid.Permutation([]uint16{0, 1, 2, 3, 4, rapid.Uint16Range(0, 5).Draw(r, "sixth")}).Draw(r, "samples")
	for _, sample := range samples[:rapid.SampledFrom([]int{0, 2, 3, 4, 5, 5, 6}).Draw(r, "uptimes")] {
		h := hosts[max(0, rapid.IntRange(-6, len(hosts)-1).Draw(r, "inventory"))]
		u := h.statement(sample)
		for i := range u.Devices {
			if rapid.IntRange(0, 5).Draw(r, "gone") == 0 {
				u.Devices[i] = UptimeDevice{Status: DeviceGone}
			} else {
				u.Devices[i].Utilization = rapid.SampledFrom([]uint8{97, 97, 0, 50, 100, NoUtilization}).Draw(r, "utilization")
			}
		}
		switch rapid.IntRange(0, 40).Draw(r, "fault") {
		case 0:
			u.Delegation = rapid.SampledFrom(delegations).Draw(r, "other")
		case 1:
			u.BeaconHash[0]++
		case 2:
			u.BeaconSlot++
		case 3:
			u.Devices = append(u.Devices, UptimeDevice{})
		case 4:
			u.Previous = ionet.Hash{}
		}
		h.say(u, rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 2, 3, -1}).Draw(r, "late"))
		for _, other := range hosts { // one chain per worker
			other.previous = h.previous
		}
	}
}
