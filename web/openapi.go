package web

import (
	"fmt"
	"net/http"
	"reflect"

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
		postStatements(doc.Components.Schemas),
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

// postStatements describes the one operation whose body is a stream.
func postStatements(schemas huma.Registry) *huma.Operation {
	header := func(name, what string, required bool, values ...any) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: required, Description: what, Schema: &huma.Schema{Type: huma.TypeString, Enum: values}}
	}
	refused := func(what string) *huma.Response {
		return &huma.Response{
			Description: what,
			Headers:     map[string]*huma.Header{"Retry-After": {Description: "Seconds after which asking again may help", Schema: &huma.Schema{Type: huma.TypeInteger}}},
			Content:     map[string]*huma.MediaType{client.ProblemMediaType: {Schema: schemas.Schema(reflect.TypeFor[client.Problem](), true, "Problem")}},
		}
	}
	return &huma.Operation{
		Method: http.MethodPost, Path: "/v1/statements", OperationID: "post-statements",
		Summary: "Hand in statements",
		Description: fmt.Sprintf("Envelopes of proofs/FORMAT.md section 3 back to back, %d bytes at most before compression; an ack directly after a statement presents the one that the service gave for it. "+
			"They are read and answered %d at a time, while the rest still comes in: read the answer while you send, or send no more than that at once. "+
			"A body of no more is refused as a whole where it is malformed; its only statement, if refused, is answered by its problem. "+
			"In a longer one whatever the service can't take is answered with `busy`, and a stream that can't be read to its end has a last `problem` that says why. "+
			"What is not answered may be sent again: a statement is known by its id.", client.MaxStream, client.MaxStatements),
		Parameters: []*huma.Param{
			header(client.NetworkHeader, "Network id, base58", true),
			header("Content-Encoding", "How the body is compressed; a zstd window of 8 MiB at most", false, "gzip", "zstd", "identity"),
			header("Accept", client.LinesMediaType+" gives one result a line, and a problem that ends the stream as a line {\"problem\": ...}", false),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{client.StatementsMediaType: {}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "A result for each statement, in their order", Content: map[string]*huma.MediaType{
				"application/json":    {Schema: schemas.Schema(reflect.TypeFor[client.Results](), true, "Results")},
				client.LinesMediaType: {Schema: schemas.Schema(reflect.TypeFor[client.Result](), true, "Result")},
			}},
			"408":     refused("The body came too slowly"),
			"413":     refused("The body is too large; or, with field Content-Encoding, compressed more than 16 times: send it without"),
			"415":     refused("Content-Type or Content-Encoding is another"),
			"429":     refused("Too much comes in, or others needed the place of a body that came slowly: send it again after Retry-After; with field Content-Encoding at once, without"),
			"503":     refused("The service can't store anything at the moment: send it again after Retry-After"),
			"default": refused("Problem"),
		},
	}
}
