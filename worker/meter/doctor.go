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
	Asked   string // the URL that was asked for its models
	Err     error  // it does not answer, or refuses our authorization
	Listed  bool   // it answers, and lists the upstream name among its models
	NoList  bool   // it answers, and has no list of models there
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
		r := BackEndReport{Model: m.Name, Backend: m.base(), Asked: m.base() + "/v1/models"}
		r.probe(ctx, m, transport)
		list = append(list, r)
	}
	return list
}

func (r *BackEndReport) probe(ctx context.Context, m *SoldUnit, transport http.RoundTripper) {
	var models struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	status, err := getJSON(ctx, transport, r.Asked, m.Authorization, &models)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		r.Err = fmt.Errorf("GET %s answers %d: its authorization is wrong or missing", r.Asked, status)
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		r.NoList = true // servers that only answer what is sold need no list
	case status >= 500:
		r.Err = fmt.Errorf("GET %s answers %d", r.Asked, status)
	case status != 0 && (err != nil || status != http.StatusOK):
		r.NoList = true
	case err != nil:
		r.Err = err
	}
	for _, d := range models.Data {
		if d.ID == m.Upstream {
			r.Listed = true
		}
	}
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
