package meter

import (
	"bytes"
	"encoding/json"
	"strings"
)

// remoteMedia refuses what a back end would fetch from elsewhere: a renter could have it ask
// inside the host's network, and what comes has more tokens than its name has bytes.
func (f fields) remoteMedia() *badMember {
	for name, v := range f {
		switch name {
		case "tools", "functions", "response_format", "metadata": // descriptions, by which nothing is fetched
			continue
		}
		if found := remoteURL(name, v); found != "" {
			return member(name, "names a file by the URL %.60q: this worker takes data: URLs only", found)
		}
	}
	return nil
}

// level is an object or a list around a value.
type level struct {
	object bool
	name   string // of the member that is read
	value  bool   // a value follows, not a name
}

// remoteURL finds a value, in that of a member, that names a file elsewhere. It goes by the text, not by what a
// map keeps of it: of a member that is there twice each counts.
func remoteURL(name string, v json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(v))
	levels := []level{{object: true, name: name, value: true}}
	for {
		token, err := dec.Token()
		if err != nil {
			return "" // the end: the value was parsed before
		}
		at := &levels[len(levels)-1]
		switch t := token.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				levels = levels[:len(levels)-1]
				continue
			}
			at.value = false
			levels = append(levels, level{object: t == '{', name: at.name})
		case string:
			switch {
			case at.object && !at.value:
				at.name, at.value = t, true
				continue
			case namesFile(at.name, t):
				return t
			}
			at.value = false
		default:
			at.value = false
		}
	}
}

// namesFile reports whether a member of that name with that value has a back end fetch
// something: one that is called a URL and is no data: URL, or one of a kind of media that is
// a URL of another scheme.
func namesFile(name, value string) bool {
	name, value = strings.ToLower(name), strings.ToLower(strings.TrimSpace(value))
	if strings.HasPrefix(value, "data:") || value == "" {
		return false
	}
	if strings.HasSuffix(name, "url") || strings.HasSuffix(name, "uri") {
		return true
	}
	switch name {
	case "image", "images", "video", "videos", "audio", "audios", "file", "files":
		return strings.Contains(value, "://") || strings.HasPrefix(value, "file:") || strings.HasPrefix(value, "//")
	}
	return false
}
