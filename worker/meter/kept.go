package meter

import (
	"container/list"
	"sync"

	"github.com/ionet-settlement/ionet"
)

// Bounds of the answers that are kept in memory for renters who lost the first one.
const (
	maxKept    = 64 << 20
	maxKeptOne = 8 << 20
)

// keptAnswer is a whole answer. Its statement is in the book.
type keptAnswer struct {
	status int
	media  string
	body   []byte
	stream bool
}

// keptAnswers keeps the answers that were used last, in bounded memory.
type keptAnswers struct {
	mu    sync.Mutex
	limit int
	size  int
	order list.List // of keptKey, the latest first
	byJob map[keptKey]*list.Element
}

type keptKey struct {
	channel ionet.Key
	job     [16]byte
}

type keptEntry struct {
	key    keptKey
	answer *keptAnswer
}

func newKeptAnswers(limit int) *keptAnswers {
	return &keptAnswers{limit: limit, byJob: map[keptKey]*list.Element{}}
}

// put keeps an answer, unless it is too large.
func (k *keptAnswers) put(channel ionet.Key, job [16]byte, a *keptAnswer) {
	if len(a.body) > maxKeptOne {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := keptKey{channel, job}
	if old := k.byJob[key]; old != nil {
		k.remove(old)
	}
	k.byJob[key] = k.order.PushFront(&keptEntry{key, a})
	k.size += len(a.body)
	for k.size > k.limit {
		k.remove(k.order.Back())
	}
}

func (k *keptAnswers) remove(e *list.Element) {
	entry := k.order.Remove(e).(*keptEntry)
	delete(k.byJob, entry.key)
	k.size -= len(entry.answer.body)
}

func (k *keptAnswers) get(channel ionet.Key, job [16]byte) *keptAnswer {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.byJob[keptKey{channel, job}]
	if e == nil {
		return nil
	}
	k.order.MoveToFront(e)
	return e.Value.(*keptEntry).answer
}
