package genesis

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/ionet-settlement/ionet"
)

// row is one key of the network file with its value in the file and the one
// that configuration and keys give.
type row struct {
	key       string
	file, now string
	source    string // flag or file that the second value comes from
}

// compare returns an error that names the first key in which the folder's files
// and n, which the configuration gives, differ; causes come before what follows
// from them.
func (d design) compare(f files, n *ionet.Network) error {
	if f.policyFile != nil && !bytes.Equal(f.policyFile, d.Policy) {
		return fmt.Errorf("policy: %s has hash %s, --policy gives one of hash %s: leave it out or put it right, or use a new folder",
			filepath.Join(d.Dir, PolicyFile), ionet.HashOf(f.policyFile), ionet.HashOf(d.Policy))
	}
	if f.network == nil {
		return nil
	}
	for _, r := range rows(f.network, n) {
		if r.file != r.now {
			return fmt.Errorf("%s: %s says %s, %s gives %s: leave it out or put it right, or use a new folder",
				r.key, filepath.Join(d.Dir, NetworkFile), r.file, r.source, r.now)
		}
	}
	return nil
}

// compareFile looks for what rows leaves out. Values that are written in another
// way are no difference.
func (d design) compareFile(f files, file []byte) error {
	if f.network == nil {
		return nil
	}
	n := *f.network
	n.Start = d.Start.Unix() // which may be moved
	if was, err := ionet.EncodeNetwork(n); err != nil || !bytes.Equal(was, file) {
		return fmt.Errorf("addresses in %s are not those that its keys give", filepath.Join(d.Dir, NetworkFile))
	}
	return nil
}

func rows(was, is *ionet.Network) []row {
	num := func(n uint64) string { return strconv.FormatUint(n, 10) }
	lanes := func(n *ionet.Network, kind string) string { return strconv.Itoa(len(n.LanesOf(kind))) }
	a, b := was.Schedule, is.Schedule
	list := []row{
		{"name", was.Name, is.Name, "--name"},
		{"cluster", was.Cluster.String(), is.Cluster.String(), "--rpc"},
		{"decimals", strconv.Itoa(was.Decimals), strconv.Itoa(is.Decimals), "--decimals or the file of --schedule"},
		{"epoch_seconds", num(uint64(was.EpochSeconds)), num(uint64(is.EpochSeconds)), "--epoch-seconds"},
		{"samples", num(uint64(was.Samples)), num(uint64(is.Samples)), "--samples"},
		{"policy", was.Policy.String(), is.Policy.String(), PolicyFile + " or --policy"},
		{"schedule.genesis", a.Genesis.String(), b.Genesis.String(), "--schedule"},
		{"schedule.cap", a.Cap.String(), b.Cap.String(), "--schedule"},
		{"schedule.epochs", num(a.Epochs), num(b.Epochs), "--schedule"},
		{"schedule.first_year_rate", a.FirstYearRate, b.FirstYearRate, "--schedule"},
		{"schedule.steps_per_year", num(a.StepsPerYear), num(b.StepsPerYear), "--schedule"},
		{"schedule.decay", a.Decay, b.Decay, "--schedule"},
		{"schedule.epochs_per_step", num(a.EpochsPerStep), num(b.EpochsPerStep), "--schedule"},
		{"schedule.hash", a.Hash.String(), b.Hash.String(), "the schedule"},
		{"pay lanes", lanes(was, "pay"), lanes(is, "pay"), "--pay-lanes"},
		{"claim lanes", lanes(was, "claim"), lanes(is, "claim"), "--claim-lanes"},
		{"keys.operator", was.Keys.Operator.String(), is.Keys.Operator.String(), operatorFile},
		{"keys.fees", was.Keys.Fees.String(), is.Keys.Fees.String(), feesFile},
		{"keys.service", was.Keys.Service.String(), is.Keys.Service.String(), serviceFile},
		{"keys.lane", was.Keys.Lane.String(), is.Keys.Lane.String(), laneFile},
	}
	for _, r := range []struct {
		name    string
		was, is ionet.Key
	}{
		{"mint", was.Authorities.Mint, is.Authorities.Mint}, {"reward", was.Authorities.Reward, is.Authorities.Reward}, {"fee", was.Authorities.Fee, is.Authorities.Fee},
	} {
		list = append(list, row{"authorities." + r.name, authorityText(was, r.was), authorityText(is, r.is), "--" + r.name + "-authority"})
	}
	for i := range min(len(was.Allocation), len(is.Allocation)) {
		a, b := was.Allocation[i], is.Allocation[i]
		key := "allocation of " + a.Category
		list = append(list,
			row{key + ", category", a.Category, b.Category, "--allocation"},
			row{key + ", amount", a.Amount.String(), b.Amount.String(), "--allocation"},
			row{key + ", unlock", a.Unlock, b.Unlock, "--unlock"},
			row{key + ", beneficiaries", beneficiaryText(a.Beneficiaries), beneficiaryText(b.Beneficiaries), "--beneficiary"},
			row{key + ", authority", authorityText(was, a.Owner), authorityText(is, b.Owner), "--allocation-authority"},
			row{key + ", owner", a.Owner.String(), b.Owner.String(), allocationFile(a.Category)})
	}
	return list
}
