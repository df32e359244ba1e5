package meter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// endpoint is one of the paths that cost something.
type endpoint struct {
	path  string
	units []proofs.Unit // by which it can be sold; the first that the offer has counts
	// streams reports whether an answer can be a stream of events.
	streams bool
	// generates reports whether the answer has tokens, which max_tokens bounds.
	generates bool
}

// The paths that cost something.
var endpoints = []endpoint{
	{path: "/v1/chat/completions", units: []proofs.Unit{proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond}, streams: true, generates: true},
	{path: "/v1/completions", units: []proofs.Unit{proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond}, streams: true, generates: true},
	{path: "/v1/embeddings", units: []proofs.Unit{proofs.UnitToken, proofs.UnitRequest, proofs.UnitSecond}},
	{path: "/v1/images/generations", units: []proofs.Unit{proofs.UnitImage, proofs.UnitRequest, proofs.UnitSecond}},
}

// request is what a renter asks for.
type request struct {
	at      *endpoint
	raw     []byte // as it came: what the job's hash is of
	sold    *SoldUnit
	stream  bool
	usage   bool // of a stream: the renter asks for the chunk that tells usage
	n       uint64
	upgrade []byte // what the back end gets

	bound  uint64 // the most units that are billed
	prompt uint64 // of tokens: the prompt's least, billed where a renter left before usage was told
}

// promptOverhead is how many tokens a chat template, with tools, adds to what the body
// says.
const promptOverhead = 512

// bytesPerToken is how many bytes of a body count as one token where nobody told how many
// tokens it has: about as many as English text has.
const bytesPerToken = 4

// maxChoices bounds how many answers a request can ask for.
const maxChoices = 128

// fields are a request's top level. What a back end gets is encoded from them again, so
// that it reads no member twice, or otherwise than was read here.
type fields map[string]json.RawMessage

// parseRequest reads a request's body and finds what serves it.
func parseRequest(at *endpoint, body []byte, models []SoldUnit) (*request, *client.MeterProblem) {
	var f fields
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&f); err != nil || f == nil || dec.More() {
		return nil, problem(http.StatusBadRequest, client.MalformedJSON, "the body is not a JSON object")
	}
	if name, plain := f.otherCase(); name != "" {
		return nil, field(plain, fmt.Sprintf("%.40q is written %s", name, plain))
	}
	r := &request{at: at, raw: body}
	var name string
	if err := f.get("model", &name); err != nil || name == "" {
		return nil, field("model", "model is missing, or is not a string")
	}
	if r.sold = find(models, name, at.units); r.sold == nil {
		return nil, problem(http.StatusNotFound, client.ModelNotOffered, fmt.Sprintf("the offer has no model %.80q for %s", name, at.path))
	}
	err := r.read(f)
	if err == nil && !r.sold.RemoteMedia {
		err = f.remoteMedia()
	}
	if err != nil {
		return nil, field(err.name, err.text)
	}
	return r, nil
}

// find returns the first of the units by which the model is sold.
func find(models []SoldUnit, name string, units []proofs.Unit) *SoldUnit {
	for _, u := range units {
		for i := range models {
			if models[i].Name == name && models[i].Unit.Unit == u {
				return &models[i]
			}
		}
	}
	return nil
}

// badMember is a member of a request that it can't be served with.
type badMember struct{ name, text string }

func member(name, format string, args ...any) *badMember {
	return &badMember{name, name + " " + fmt.Sprintf(format, args...)}
}

// read reads what bounds the cost, and makes the body for the back end.
func (r *request) read(f fields) *badMember {
	var bad *badMember
	if r.n, bad = f.count("n", 1, 1, maxChoices); bad != nil {
		return bad
	}
	if err := f.get("stream", &r.stream); err != nil {
		return member("stream", "is not true or false")
	}
	if r.stream && !r.at.streams {
		return member("stream", "is not served at %s", r.at.path)
	}
	if bad = r.readStreamOptions(f); bad != nil {
		return bad
	}
	switch r.sold.Unit.Unit {
	case proofs.UnitRequest:
		if most := max(r.sold.MaxUnits, 1); r.n > most {
			return member("n", "is %d, a request has at most %d answers", r.n, most)
		}
		r.bound = 1
	case proofs.UnitSecond:
		r.bound = r.sold.MaxUnits
	case proofs.UnitImage:
		if r.n > r.sold.MaxUnits {
			return member("n", "is %d, at most %d images are made at once", r.n, r.sold.MaxUnits)
		}
		r.bound = r.n
	case proofs.UnitToken:
		if bad = r.boundTokens(f); bad != nil {
			return bad
		}
	}
	f.set("model", r.sold.Upstream)
	r.upgrade, _ = json.Marshal(f) // raw members that were parsed
	return nil
}

// readStreamOptions asks the back end for usage, which renters need not.
func (r *request) readStreamOptions(f fields) *badMember {
	if !r.stream {
		return nil
	}
	var options fields
	if err := f.get("stream_options", &options); err != nil {
		return member("stream_options", "is not an object")
	}
	if name, plain := options.otherCase(); name != "" {
		return member("stream_options", "has %.40q, which is written %s", name, plain)
	}
	if err := options.get("include_usage", &r.usage); err != nil {
		return member("stream_options", "has an include_usage that is not true or false")
	}
	if options == nil {
		options = fields{}
	}
	options.set("include_usage", true)
	f.set("stream_options", options)
	return nil
}

// boundTokens bounds the tokens that are billed:
//
//	min(bytes of the body + overhead, context) + choices * min(max_tokens, context)
//
// for a token of the prompt stands for at least one byte of it.
func (r *request) boundTokens(f fields) *badMember {
	context := r.sold.Context
	if context == 0 {
		context = math.MaxInt64
	}
	r.bound = min(uint64(len(r.raw))+promptOverhead, context)
	r.prompt = min((uint64(len(r.raw))+bytesPerToken-1)/bytesPerToken, context)
	if !r.at.generates {
		return nil
	}
	if _, ok := f["n_predict"]; ok {
		return member("n_predict", "is not served: say max_tokens")
	}
	// Some back ends take 0 for no bound at all.
	longest, bad := f.count("max_tokens", 0, 1, math.MaxInt32)
	if bad != nil {
		return bad
	}
	other, bad := f.count("max_completion_tokens", 0, 1, math.MaxInt32)
	if bad != nil {
		return bad
	}
	if longest = max(longest, other); longest == 0 {
		longest = r.sold.MaxUnits
	}
	if !f.has("max_tokens") { // a back end that knows no other bound would go on to its own
		f.set("max_tokens", longest)
	}
	choices, bad := r.choices(f)
	if bad != nil {
		return bad
	}
	r.bound += choices * min(longest, context)
	return nil
}

// choices is how many answers are made: n, or as many as the best is taken of, for each
// prompt of a list.
func (r *request) choices(f fields) (uint64, *badMember) {
	best, bad := f.count("best_of", 0, 0, maxChoices)
	if bad != nil {
		return 0, bad
	}
	return max(r.n, best) * f.prompts(), nil
}

// prompts counts the prompts of a completion. A list of numbers is one prompt.
func (f fields) prompts() uint64 {
	var list []json.RawMessage
	if json.Unmarshal(f["prompt"], &list) != nil || len(list) == 0 {
		return 1
	}
	if _, err := strconv.ParseFloat(string(list[0]), 64); err == nil {
		return 1
	}
	return uint64(len(list))
}

// members are the names that mean something here, of a request and of its stream_options.
var members = []string{
	"model", "n", "stream", "stream_options", "include_usage", "max_tokens", "max_completion_tokens", "n_predict", "best_of", "prompt", "messages", "input",
}

// otherCase finds a member that is one of those but for the case of its letters: a back end
// that does not mind the case would read it, and we do not.
func (f fields) otherCase() (name, plain string) {
	for name := range f {
		for _, plain := range members {
			if name != plain && strings.EqualFold(name, plain) {
				return name, plain
			}
		}
	}
	return "", ""
}

func (f fields) has(name string) bool {
	v, ok := f[name]
	return ok && string(v) != "null"
}

// get reads a member that may be missing or null.
func (f fields) get(name string, into any) error {
	if !f.has(name) {
		return nil
	}
	return json.Unmarshal(f[name], into)
}

// count reads a whole number that may be missing.
func (f fields) count(name string, missing, least, most uint64) (uint64, *badMember) {
	if !f.has(name) {
		return missing, nil
	}
	n, err := strconv.ParseUint(string(f[name]), 10, 64)
	if err != nil || n < least || n > most {
		return 0, member(name, "is not a whole number in %d..%d", least, most)
	}
	return n, nil
}

func (f fields) set(name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, strings and what was parsed
	}
	f[name] = b
}
