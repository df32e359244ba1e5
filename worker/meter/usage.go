package meter

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// usage is what a back end says that an answer took.
type usage struct {
	tokens uint64
	known  bool
}

// wireUsage is usage as OpenAI's API has it, which vLLM and llama.cpp's server give too.
// Numbers are read as they are written: one that is none, or negative, tells nothing.
type wireUsage struct {
	Prompt     json.RawMessage `json:"prompt_tokens"`
	Completion json.RawMessage `json:"completion_tokens"`
	Total      json.RawMessage `json:"total_tokens"`
}

// tokens adds prompt and completion; where they are not told the total counts.
func (w *wireUsage) tokens() usage {
	if w == nil {
		return usage{}
	}
	prompt, isPrompt := whole(w.Prompt)
	completion, isCompletion := whole(w.Completion)
	total, isTotal := whole(w.Total)
	switch {
	case isPrompt && isCompletion:
		return usage{min(prompt, math.MaxInt64) + min(completion, math.MaxInt64), true}
	case isTotal:
		return usage{total, true}
	case isPrompt && w.Completion == nil: // of embeddings
		return usage{prompt, true}
	}
	return usage{}
}

func whole(b json.RawMessage) (uint64, bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// answer is what is read of a whole answer.
type answer struct {
	Usage *wireUsage        `json:"usage"`
	Data  []json.RawMessage `json:"data"`
	// llama.cpp's own form, where its OpenAI form is not asked for.
	Predicted json.RawMessage `json:"tokens_predicted"`
	Evaluated json.RawMessage `json:"tokens_evaluated"`
}

// parseAnswer reads a whole answer; one that is no JSON object tells nothing.
func parseAnswer(body []byte) answer {
	var a answer
	_ = json.Unmarshal(body, &a)
	return a
}

func (a answer) usage() usage {
	u := a.Usage.tokens()
	if u.known {
		return u
	}
	made, ok := whole(a.Predicted)
	if read, also := whole(a.Evaluated); ok && also {
		return usage{min(made, math.MaxInt64) + min(read, math.MaxInt64), true}
	}
	return usage{}
}

// chunk is what is read of one event of a stream.
type chunk struct {
	Choices []struct {
		Text  string          `json:"text"`
		Delta json.RawMessage `json:"delta"`
	} `json:"choices"`
	Usage *wireUsage      `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// produces counts the choices of an event that carry some of the answer: a token or more
// each.
func (c *chunk) produces() (n uint64) {
	for _, choice := range c.Choices {
		if choice.Text != "" || carries(choice.Delta) {
			n++
		}
	}
	return n
}

// carries reports whether a delta has more than a role: content, reasoning, a call of a
// tool, whatever a back end calls it.
func carries(delta json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(delta, &members) != nil {
		return false
	}
	for name, v := range members {
		if name == "role" {
			continue
		}
		switch string(bytes.TrimSpace(v)) {
		case `null`, `""`, `[]`, `{}`:
		default:
			return true
		}
	}
	return false
}
