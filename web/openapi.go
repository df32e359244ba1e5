package web

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet/client"
)

// describe adds to the API's document what is not JSON on both sides and therefore
// served by handlers of our own.
func describe(doc *huma.OpenAPI) {
	bytes := func(media, what string) map[string]*huma.Response {
		return map[string]*huma.Response{
			"200":     {Description: what, Content: map[string]*huma.MediaType{media: {}}},
			"default": {Description: "Problem", Content: map[string]*huma.MediaType{client.ProblemMediaType: {}}},
		}
	}
	for _, op := range []*huma.Operation{
		{
			Method: http.MethodPost, Path: "/v1/statements", OperationID: "post-statements",
			Summary:     "Hand in statements",
			Description: "Envelopes of proofs/FORMAT.md section 3 back to back; an ack directly after a statement presents the one that the service gave for it. One statement that is refused is answered by its problem.",
			Parameters:  []*huma.Param{{Name: client.NetworkHeader, In: "header", Required: true, Description: "Network id, base58", Schema: &huma.Schema{Type: huma.TypeString}}},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{client.StatementsMediaType: {}}},
			Responses:   bytes("application/json", "A result for each statement, in their order"),
		},
		{Method: http.MethodGet, Path: "/v1/network", OperationID: "get-network", Summary: "The network file", Responses: bytes("application/toml", "Its exact bytes, whose hash is the network id")},
		{Method: http.MethodGet, Path: "/v1/policy", OperationID: "get-policy", Summary: "The policy in force at the current epoch", Responses: bytes("application/toml", "Its exact bytes")},
		{
			Method: http.MethodGet, Path: "/files/{name}", OperationID: "get-file", Summary: "A published file; proofs/FORMAT.md section 13",
			Parameters: []*huma.Param{{Name: "name", In: "path", Required: true, Description: "Such as books/<book root>.zst", Schema: &huma.Schema{Type: huma.TypeString}}},
			Responses:  bytes("application/octet-stream", "Its bytes"),
		},
		{Method: http.MethodGet, Path: "/healthz", OperationID: "get-healthz", Summary: "Whether the process answers", Responses: bytes("text/plain", "ok")},
		{Method: http.MethodGet, Path: "/metrics", OperationID: "get-metrics", Summary: "Prometheus metrics", Responses: bytes("text/plain", "Metrics")},
	} {
		doc.AddOperation(op)
	}
}
