package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// BackEndReport is what a look at a back end found.
type BackEndReport struct {
	Model   string
	Backend string
	Err     error // it does not answer, or refuses our authorization
	Listed  bool  // it answers, and lists the upstream name among its models
}

// probeTime is how long a back end may take to list its models.
const probeTime = 10 * time.Second

// CheckBackEnds asks each back end for its models.
func CheckBackEnds(ctx context.Context, f *OfferFile, transport http.RoundTripper) []BackEndReport {
	if transport == nil {
		transport = http.DefaultTransport
	}
	var list []BackEndReport
	for i := range f.Models {
		m := &f.Models[i]
		r := BackEndReport{Model: m.Name, Backend: m.base()}
		r.Listed, r.Err = m.probe(ctx, transport)
		list = append(list, r)
	}
	return list
}

func (m *SoldUnit) probe(ctx context.Context, transport http.RoundTripper) (listed bool, err error) {
	var models struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	status, err := getJSON(ctx, transport, m.base()+"/v1/models", m.Authorization, &models)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return false, fmt.Errorf("it answers %d: its authorization is wrong or missing", status)
	case status >= 500:
		return false, fmt.Errorf("it answers %d", status)
	case status != 0 && (err != nil || status != http.StatusOK):
		return false, nil // it answers, and has no such list
	case err != nil:
		return false, err
	}
	for _, d := range models.Data {
		if d.ID == m.Upstream {
			return true, nil
		}
	}
	return false, nil
}

// CheckEndpoint asks the offer's endpoint for the offer in force, as renters do: it must
// be this worker's.
func CheckEndpoint(ctx context.Context, f *OfferFile, worker ionet.Key, transport http.RoundTripper) error {
	if transport == nil {
		transport = http.DefaultTransport
	}
	var offer client.WorkerOffer
	status, err := getJSON(ctx, transport, f.Endpoint+"/ionet/v1/offer", "", &offer)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answers %d", status)
	}
	if err != nil {
		return err
	}
	e, err := oneEnvelope(offer.Statement)
	if err == nil && e.Signer != worker {
		err = fmt.Errorf("the offer there is by worker %s", e.Signer)
	}
	return err
}

// getJSON reads an answer of a megabyte at most. The status is 0 where none came.
func getJSON(ctx context.Context, transport http.RoundTripper, url, authorization string, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(out)
}
