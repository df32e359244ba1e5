package proofs

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// What must not be encoded. The same checks stand behind the parsers.
func TestEncodeRefuses(t *testing.T) {
	io := ionet.MustAmount
	dev := InventoryDevice{UUID: device(1), Name: h100, PCI: "0", Driver: "1", VBIOS: "2"}
	other := dev
	other.UUID = device(2)
	long, foreign, empty, unnamed, mig, ecc := dev, dev, dev, dev, dev, dev
	long.Name, foreign.Driver, empty.PCI = strings.Repeat("x", maxText+1), "é", ""
	unnamed.VBIOS, mig.MIG, ecc.ECC = "", 2, ModeUntold-1
	up := UptimeDevice{Utilization: 1}
	job := Job{Model: "m", Per: 3, Price: io(2), Units: 4, Fee: io(3), Before: io(1), After: io(4), Cumulative: io(4)}
	change := func(f func(*Job)) Job { j := job; f(&j); return j }
	model := OfferModel{Name: "m", Per: 1}
	offer := func(m ...OfferModel) Offer { return Offer{Endpoint: "e", Models: m} }
	for name, v := range map[string]encodable{
		"inventory: no devices":              Inventory{},
		"inventory: too many devices":        Inventory{Devices: make([]InventoryDevice, MaxDevices+1)},
		"inventory: devices[1].uuid":         Inventory{Devices: []InventoryDevice{other, dev}},
		"inventory: devices[1].uuid again":   Inventory{Devices: []InventoryDevice{dev, dev}},
		"inventory: devices[0].name":         Inventory{Devices: []InventoryDevice{long}},
		"inventory: devices[0].driver":       Inventory{Devices: []InventoryDevice{foreign}},
		"inventory: devices[0].pci":          Inventory{Devices: []InventoryDevice{empty}},
		"inventory: devices[0].vbios":        Inventory{Devices: []InventoryDevice{unnamed}},
		"inventory: devices[0].mig":          Inventory{Devices: []InventoryDevice{mig}},
		"inventory: devices[0].ecc":          Inventory{Devices: []InventoryDevice{ecc}},
		"uptime: epoch":                      Uptime{Devices: []UptimeDevice{up}},
		"uptime: no devices":                 Uptime{Epoch: 1},
		"uptime: too many devices":           Uptime{Epoch: 1, Devices: make([]UptimeDevice, MaxDevices+1)},
		"uptime: devices[0].status":          Uptime{Epoch: 1, Devices: []UptimeDevice{{Status: 2}}},
		"uptime: devices[0] gone with watts": Uptime{Epoch: 1, Devices: []UptimeDevice{{Status: DeviceGone, PowerW: 1}}},
		"uptime: devices[0] gone with MHz":   Uptime{Epoch: 1, Devices: []UptimeDevice{{Status: DeviceGone, MemoryMHz: 1}}},
		"uptime: devices[0] gone with jobs":  Uptime{Epoch: 1, Devices: []UptimeDevice{{Status: DeviceGone, Processes: 1}}},
		"uptime: devices[0].utilization":     Uptime{Epoch: 1, Devices: []UptimeDevice{{Utilization: 101}}},
		"ack: of no tree":                    Ack{},
		"ack: of too large a tree":           Ack{Size: MaxAckTree + 1, Path: make([]ionet.Hash, 17)},
		"ack: index beyond the tree":         Ack{Index: 1, Size: 1},
		"ack: no path":                       Ack{Size: 2},
		"ack: a path of none":                Ack{Size: 1, Path: make([]ionet.Hash, 1)},
		"ack: too short a path":              Ack{Index: 3, Size: 5, Path: make([]ionet.Hash, 2)},
		"ack: too long a path":               Ack{Index: 4, Size: 5, Path: make([]ionet.Hash, 2)},
		"offer: no models":                   offer(),
		"offer: endpoint":                    Offer{Models: []OfferModel{model}},
		"offer: order":                       offer(OfferModel{Name: "n", Per: 1}, model),
		"offer: repeated":                    offer(model, model),
		"offer: order of units":              offer(OfferModel{Name: "m", Unit: 2, Per: 1}, OfferModel{Name: "m", Unit: 1, Per: 1}),
		"offer: unit":                        offer(OfferModel{Name: "m", Unit: 4, Per: 1}),
		"offer: per":                         offer(OfferModel{Name: "m"}),
		"offer: name":                        offer(OfferModel{Name: "m m", Per: 1}),
		"job: fee":                           change(func(j *Job) { j.Fee = io(2); j.After = io(3) }),
		"job: after":                         change(func(j *Job) { j.After = io(5) }),
		"job: cumulative":                    change(func(j *Job) { j.Cumulative = io(3) }),
		"job: per":                           change(func(j *Job) { j.Per = 0 }),
		"job: model":                         change(func(j *Job) { j.Model = "" }),
		"job: fee out of range":              change(func(j *Job) { j.Units, j.Price, j.Per = math.MaxUint64, io(math.MaxInt64), 1 }),
		"job: after out of range":            change(func(j *Job) { j.Before = io(math.MaxInt64) }),
		"job batch: count":                   JobBatch{},
		"job batch: after":                   JobBatch{Count: 1, After: io(1), Cumulative: io(1)},
		"voucher: expiry":                    Voucher{Expiry: -1},
	} {
		if b, err := v.Encode(); err == nil {
			t.Errorf("%s: encodes as %x", name, b)
		}
	}
	if _, err := job.Encode(); err != nil {
		t.Errorf("the unchanged job: %v", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	d := Delegation{Provider: public("p"), Payout: public("p"), Workers: []ionet.Key{{1}, {2}}, Issued: 10, Expires: 20}
	change := func(f func(*Delegation)) Delegation {
		c := d
		c.Workers = append([]ionet.Key(nil), d.Workers...)
		f(&c)
		return c
	}
	for name, v := range map[string]renderable{
		"payout":           change(func(d *Delegation) { d.Payout = ionet.Key{} }),
		"no workers":       change(func(d *Delegation) { d.Workers = nil }),
		"too many workers": change(func(d *Delegation) { d.Workers = make([]ionet.Key, maxWorkers+1) }),
		"order":            change(func(d *Delegation) { d.Workers[0], d.Workers[1] = d.Workers[1], d.Workers[0] }),
		"repeated":         change(func(d *Delegation) { d.Workers[1] = d.Workers[0] }),
		"expires at issue": change(func(d *Delegation) { d.Expires = d.Issued }),
		"401 days":         change(func(d *Delegation) { d.Expires = d.Issued + maxLife + 1 }),
		"before 1970":      change(func(d *Delegation) { d.Issued = -1 }),
		"after 9999":       Revocation{Issued: 253402300800},
		"release time":     Release{Issued: -1},
		"session: order":   Session{Expires: 1, Caps: []PriceCap{{Model: "b", Per: 1}, {Model: "a", Per: 1}}},
		"session: per":     Session{Expires: 1, Caps: []PriceCap{{Model: "b"}}},
		"session: model":   Session{Expires: 1, Caps: []PriceCap{{Model: "b\n", Per: 1}}},
		"session: caps":    Session{Expires: 1, Caps: make([]PriceCap, maxCaps+1)},
		"session: expires": Session{},
		"withdrawal: time": Withdrawal{Expires: -1},
		"dispute: time":    Dispute{Issued: -1},
	} {
		if s, err := v.Text(testNetwork); err == nil {
			t.Errorf("%s: renders as %q", name, s)
		}
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	good := string(samples(t)[0].body)
	signer := public("provider")
	replace := func(a, b string) string { return strings.Replace(good, a, b, 1) }
	for name, c := range map[string]struct {
		text string
		want string
		is   error
	}{
		"kind":         {replace("delegation", "revocation"), "line 1", nil},
		"network":      {replace(ionet.Key(testNetwork).String(), public("x").String()), "Network", ErrNetwork},
		"signer":       {replace("Provider: "+signer.String(), "Provider: "+public("x").String()), "Provider", ErrSigner},
		"payout":       {replace("Payout wallet: ", "Payout wallet: 1"), "Payout wallet", nil},
		"order":        {replace("Issued", "Expires"), "Issued", nil},
		"time":         {replace("T09:00:00Z", "T09:00:00.0Z"), "template", nil},
		"zone":         {replace("T09:00:00Z", "T09:00:00+00:00"), "Issued", nil},
		"closing line": {replace("prove", "proved"), "template", nil},
		"carriage":     {strings.ReplaceAll(good, "\n", "\r\n"), "line 1", nil},
		"blank":        {good + "\n", "template", nil},
		"empty":        {"", "line 1", nil},
	} {
		_, err := ParseDelegation(testNetwork, signer, []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v, want an error about %s", name, err, c.want)
		}
	}
}

func TestFee(t *testing.T) {
	for _, c := range []struct {
		n, price uint64
		per      uint32
		want     uint64
	}{
		{0, 5, 1, 0}, {1, 1, 1000, 1}, {1000, 1, 1000, 1}, {1001, 1, 1000, 2}, {1234, 1500, 1000, 1851},
		{math.MaxUint64, 1, math.MaxUint32, 4294967297}, {math.MaxInt64, 1, 1, math.MaxInt64},
	} {
		if got, err := Fee(c.n, ionet.MustAmount(c.price), c.per); err != nil || got.Base() != c.want {
			t.Errorf("%d at %d per %d: got %s, %v, want %d", c.n, c.price, c.per, got, err, c.want)
		}
	}
	for _, c := range []struct{ n, price uint64 }{{math.MaxUint64, 1}, {1 << 62, 2}, {math.MaxUint64, math.MaxInt64}} {
		if got, err := Fee(c.n, ionet.MustAmount(c.price), 1); !errors.Is(err, ionet.ErrAmountRange) {
			t.Errorf("%d at %d: got %s, %v, want out of range", c.n, c.price, got, err)
		}
	}
	if _, err := Fee(1, ionet.Amount{}, 0); err == nil {
		t.Error("a price per 0 units passes")
	}
}
