package worker

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// giveUpBooks is after how many epochs a book that can't be read holds the spool
// no more.
const giveUpBooks = 24

// checkSealed looks each sealed epoch's statements up in its book, reports what the
// service left out, and lets go of them. A statement is kept until then.
func (w *Worker) checkSealed(ctx context.Context) error {
	for {
		w.mu.Lock()
		epoch := w.spool.oldest()
		w.mu.Unlock()
		if epoch == 0 || epoch > w.head.Sealed {
			return nil
		}
		book, err := w.book(ctx, epoch)
		if err != nil && w.head.Sealed < epoch+giveUpBooks {
			return &apiError{err}
		}
		if err := w.letGo(epoch, book, err); err != nil {
			return err
		}
	}
}

func (w *Worker) letGo(epoch uint64, book *proofs.Book, unread error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if unread != nil {
		w.emit(Event{Kind: EventTrouble, Text: "giving up: " + unread.Error()})
	} else if err := w.checkBook(epoch, book); err != nil {
		return err
	}
	return w.spool.Seal(epoch)
}

// book fetches an epoch's book and checks that it is what its name commits to.
func (w *Worker) book(ctx context.Context, epoch uint64) (*proofs.Book, error) {
	e, err := w.cfg.API.Epoch(ctx, epoch)
	if err != nil {
		return nil, fmt.Errorf("ask for epoch %d: %w", epoch, err)
	}
	if e.State != client.EpochSealed {
		return nil, fmt.Errorf("ask for epoch %d: it is %s, the head says sealed", epoch, e.State)
	}
	file, err := w.cfg.API.File(ctx, "books/"+e.Book.String()+".zst")
	if err != nil {
		return nil, fmt.Errorf("fetch the book of epoch %d: %w", epoch, err)
	}
	book, err := proofs.ParseBook(file)
	if err != nil {
		return nil, fmt.Errorf("the book of epoch %d: %w", epoch, err)
	}
	if root := book.Root(); root != e.Book || book.Inputs.Epoch != epoch {
		return nil, fmt.Errorf("the book of epoch %d: it is of epoch %d with root %s, not %s", epoch, book.Inputs.Epoch, root, e.Book)
	}
	return book, nil
}

// checkBook reports what became of each statement that is not known to be in the book,
// and what the devices earned.
func (w *Worker) checkBook(epoch uint64, book *proofs.Book) error {
	in := map[ionet.Hash]bool{}
	for i := range book.Inputs.Statements {
		in[book.Inputs.Statements[i].Envelope.ID()] = true
	}
	for _, it := range w.spool.uptimes(epoch) {
		if err := w.checkStatement(it, in[it.id]); err != nil {
			return err
		}
	}
	sealed := Event{Kind: EventSealed, Epoch: epoch, Refused: Refusals{}}
	for _, v := range book.Verdicts {
		if v.Worker != w.self {
			continue
		}
		sealed.Total++
		if v.Rule == proofs.Accepted {
			sealed.Count++
		} else {
			sealed.Refused[v.Rule]++
		}
		sum, err := sealed.Amount.Add(v.Amount)
		if err != nil {
			return fmt.Errorf("the book of epoch %d: sum of this worker's amounts: %w", epoch, err)
		}
		sealed.Amount = sum
	}
	sealed.Tokens = sealed.Amount.Tokens(w.cfg.Network.Decimals)
	w.emit(sealed)
	if sealed.Refused[proofs.Equivocation] > 0 {
		w.emit(Event{Kind: EventTrouble, Text: fmt.Sprintf("epoch %d is lost: the service has statements signed by another process with this key %s; see ionet why --device UUID --epoch %d", epoch, w.self, epoch)})
	}
	return nil
}

// checkStatement compares what the service said of a statement with the book. An ack that
// the book does not keep is a broken promise, and the proof of it is kept.
func (w *Worker) checkStatement(it *item, in bool) error {
	e := Event{Epoch: it.at.epoch, Sample: it.at.sample, ID: it.id}
	switch {
	case in && it.ack == nil: // its ack was lost on the way
		e.Kind = EventAccepted
	case in || it.ack == nil && it.refused != "":
		return nil
	case it.ack == nil:
		e.Rule = client.EpochClosed
		e.Kind, e.Text = EventRefused, fmt.Sprintf("it came after epoch %d was closed", it.at.epoch)
	default:
		path, err := w.cfg.Folder.keepEvidence("omission-"+it.id.String(), it.e, *it.ack)
		if err != nil {
			return err
		}
		e.Kind, e.Text = EventOmission, path
	}
	w.emit(e)
	return nil
}
