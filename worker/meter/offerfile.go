package meter

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// OfferFile is what a host sells, and which back end serves it:
//
//	endpoint = "https://gpu.example"          # where renters reach this proxy
//	capacity = 16                             # requests that run at once
//	expires_after = "24h"                     # of a published offer; it is renewed at half of that
//	least_limit = "100000"                    # base units: channels with a smaller limit are not taken; 0 by default
//
//	[[models]]
//	name = "llama-3.1-8b"
//	unit = "token"                            # token, image, second or request
//	price = "1200"                            # of per units, base units
//	per = 1000
//	max_units = 4096                          # answer's tokens where a request names no bound; the most images, or
//	                                          # seconds that are billed, of one; the most answers of one sold by request
//	backend = "http://127.0.0.1:8000"         # the part before /v1
//	upstream = "meta-llama/Llama-3.1-8B"      # the back end's name of it; name by default
//	context = 131072                          # tokens that the back end takes at most; optional
//	authorization = "Bearer ..."              # sent to the back end; optional
//	remote_media = true                       # pictures and sounds may be named by URL, which the back end then fetches from
//	                                          # wherever a renter says, your own network included; only data: URLs by default
type OfferFile struct {
	Endpoint     string       `toml:"endpoint"`
	Capacity     uint32       `toml:"capacity"`
	ExpiresAfter duration     `toml:"expires_after"`
	LeastLimit   ionet.Amount `toml:"least_limit"`
	Models       []SoldUnit   `toml:"models"`
}

// SoldUnit is the price of one model in one unit, and what serves it.
type SoldUnit struct {
	Name          string       `toml:"name"`
	Unit          unit         `toml:"unit"`
	Price         ionet.Amount `toml:"price"`
	Per           uint32       `toml:"per"`
	MaxUnits      uint64       `toml:"max_units"`
	Backend       string       `toml:"backend"`
	Upstream      string       `toml:"upstream"`
	Context       uint64       `toml:"context"`
	Authorization string       `toml:"authorization"`
	RemoteMedia   bool         `toml:"remote_media"`
}

// Bounds of an offer file.
const (
	maxOfferFile    = 1 << 18
	maxCapacity     = 1 << 16
	maxUnitsBound   = 1 << 40
	minOffer        = time.Minute
	maxOffer        = 30 * 24 * time.Hour
	defaultOffer    = 24 * time.Hour
	defaultCapacity = 16
)

type duration struct{ time.Duration }

// UnmarshalText parses "24h".
func (d *duration) UnmarshalText(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	return err
}

type unit struct {
	proofs.Unit
	set bool
}

// UnmarshalText parses a unit's name.
func (u *unit) UnmarshalText(b []byte) error {
	for v := proofs.UnitToken; v <= proofs.UnitRequest; v++ {
		if v.String() == string(b) {
			u.Unit, u.set = v, true
			return nil
		}
	}
	return fmt.Errorf("unit %.20q is none of token, image, second and request", b)
}

// ReadOfferFile reads and checks an offer file.
func ReadOfferFile(path string) (*OfferFile, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read offer file: %w", err)
	}
	f, err := ParseOfferFile(file)
	if err != nil {
		return nil, fmt.Errorf("offer file %s: %w", path, err)
	}
	return f, nil
}

// ParseOfferFile parses and checks an offer file. An unknown key is an error that names it.
func ParseOfferFile(file []byte) (*OfferFile, error) {
	if len(file) > maxOfferFile {
		return nil, fmt.Errorf("%d bytes are more than %d", len(file), maxOfferFile)
	}
	f := &OfferFile{ExpiresAfter: duration{defaultOffer}, Capacity: defaultCapacity}
	if err := toml.NewDecoder(bytes.NewReader(file)).DisallowUnknownFields().Decode(f); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) && len(strict.Errors) > 0 {
			return nil, fmt.Errorf("unknown key %.100q", strings.Join(strict.Errors[0].Key(), "."))
		}
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *OfferFile) check() error {
	if err := checkURL("endpoint", f.Endpoint); err != nil {
		return err
	}
	if f.Capacity == 0 || f.Capacity > maxCapacity {
		return fmt.Errorf("capacity is %d, not in 1..%d", f.Capacity, maxCapacity)
	}
	if f.ExpiresAfter.Duration < minOffer || f.ExpiresAfter.Duration > maxOffer {
		return fmt.Errorf("expires_after is %s, not from %s to %s", f.ExpiresAfter, minOffer, maxOffer)
	}
	slices.SortFunc(f.Models, func(a, b SoldUnit) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit.Unit, b.Unit.Unit))
	})
	for i := range f.Models {
		if err := f.Models[i].check(); err != nil {
			return fmt.Errorf("model %.64q: %w", f.Models[i].Name, err)
		}
	}
	// What else an offer must be is said where it is encoded: names, order, number of models.
	_, err := f.statement(0, 0).Encode()
	return err
}

func (m *SoldUnit) check() error {
	switch {
	case !m.Unit.set:
		return errors.New("unit is missing: token, image, second or request")
	case m.Price.IsZero():
		return errors.New("price is 0 or missing: jobs without a fee have no receipt")
	case m.Per == 0:
		return errors.New("per is 0 or missing: the price is of that many units")
	case m.MaxUnits == 0 && m.Unit.Unit != proofs.UnitRequest:
		return errors.New("max_units is 0 or missing: it bounds what a request costs that names no bound")
	case m.MaxUnits > maxUnitsBound || m.Context > maxUnitsBound:
		return fmt.Errorf("max_units or context is above %d", uint64(maxUnitsBound))
	case strings.ContainsAny(m.Authorization, "\r\n"):
		return errors.New("authorization has a line break")
	}
	if m.Upstream == "" {
		m.Upstream = m.Name
	}
	return checkURL("backend", m.Backend)
}

func checkURL(name, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s is not an http(s) URL without query", name)
	}
	return nil
}

// statement is the offer that says what the file says.
func (f *OfferFile) statement(sequence uint64, expires int64) proofs.Offer {
	o := proofs.Offer{Sequence: sequence, Expires: expires, Endpoint: f.Endpoint, Capacity: f.Capacity}
	for _, m := range f.Models {
		o.Models = append(o.Models, proofs.OfferModel{Name: m.Name, Unit: m.Unit.Unit, Price: m.Price, Per: m.Per})
	}
	return o
}

// says reports whether an offer says what the file says.
func (f *OfferFile) says(o proofs.Offer) bool {
	want := f.statement(o.Sequence, o.Expires)
	return o.Endpoint == want.Endpoint && o.Capacity == want.Capacity && slices.Equal(o.Models, want.Models)
}

// base is the back end's URL before /v1.
func (m *SoldUnit) base() string {
	return strings.TrimSuffix(strings.TrimSuffix(m.Backend, "/"), "/v1")
}
