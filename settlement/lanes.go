package settlement

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// The names of lanes; see proofs/FORMAT.md, section 9.
const (
	epochLane   = "epoch"
	payPrefix   = "pay-"
	claimPrefix = "claim-"
)

// lane is a row of lanes: the open position as of the last finalized state
// that was settled.
type lane struct {
	name     string
	address  ionet.Key
	position uint64
	c        ionet.Hash // C(position)
	slot     uint64     // finalized slot at which it was seen there
	fenced   int64      // lease number under which the leader passed it with an empty content
}

// carriesDebts reports whether contents of the lane may pay, so that the lane
// has to be fenced.
func (l lane) carriesDebts() bool {
	return strings.HasPrefix(l.name, payPrefix) || strings.HasPrefix(l.name, claimPrefix)
}

// loadLanes returns all lanes in the network file's order.
func (s *Service) loadLanes(ctx context.Context) ([]lane, error) {
	rows, err := s.pool.Query(ctx, selectLanes)
	if err != nil {
		return nil, fmt.Errorf("load lanes: %w", err)
	}
	byName := map[string]lane{}
	var l lane
	var address, c []byte
	var position, slot int64
	_, err = pgx.ForEachRow(rows, []any{&l.name, &address, &position, &c, &slot, &l.fenced}, func() error {
		l.address, l.position, l.c, l.slot = ionet.Key(address), uint64(position), ionet.Hash(c), uint64(slot)
		byName[l.name] = l
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load lanes: %w", err)
	}
	lanes := make([]lane, 0, len(byName))
	for _, n := range s.cfg.Network.Lanes {
		row, ok := byName[n.Name]
		if !ok || row.address != n.Address {
			return nil, fmt.Errorf("load lanes: lane %s of the network is not in the database, or at another address", n.Name)
		}
		lanes = append(lanes, row)
	}
	return lanes, nil
}

const selectLanes = `SELECT name, address, position, chain, slot, fenced FROM lanes`

// finalView is what the chain says at one finalized slot.
type finalView struct {
	slot   uint64
	states map[string]ionet.Key     // by lane name: the public half of the open position's key
	vaults map[ionet.Key]vaultState // by address: those of Service.vaults
}

// readFinal reads lanes and vaults at one finalized slot, not older than what was
// settled or credited before: a node that lags gives an error, never an old state.
func (s *Service) readFinal(ctx context.Context, lanes []lane) (finalView, error) {
	var credited int64
	if err := s.pool.QueryRow(ctx, selectCredited).Scan(&credited); err != nil {
		return finalView{}, fmt.Errorf("read to which slot credits are booked: %w", err)
	}
	vaults := s.vaults()
	var keys []ionet.Key
	for _, v := range vaults {
		keys = append(keys, v.address)
	}
	oldest := uint64(credited)
	for _, l := range lanes {
		keys, oldest = append(keys, l.address), max(oldest, l.slot)
	}
	accounts, slot, err := s.cfg.Chain.Accounts(ctx, keys, rpc.Finalized, oldest)
	if err != nil {
		return finalView{}, fmt.Errorf("read lanes: %w", err)
	}
	if err := s.checkSlot(ctx, slot); err != nil {
		return finalView{}, err
	}
	v := finalView{slot: slot, states: make(map[string]ionet.Key, len(lanes)), vaults: make(map[ionet.Key]vaultState, len(vaults))}
	for i := range vaults {
		v.vaults[vaults[i].address] = s.vaultStateOf(vaults[i], accounts[i])
	}
	for i, l := range lanes {
		a := accounts[len(vaults)+i]
		if v.states[l.name], err = chain.ParseLane(a.Owner, a.Data); err != nil {
			return finalView{}, fmt.Errorf("read lane %s: %w", l.name, err)
		}
	}
	return v, nil
}

// What a chain does at most between two looks: ten slots a second, and this many more
// where the clock stands or slots are made at once.
const (
	slotsInSecond = 10
	slotsAtOnce   = 3000
)

// topSlot is the newest finalized slot that more than one endpoint told of.
type topSlot struct {
	slot uint64
	at   time.Time
}

// checkSlot refuses a finalized slot that the chain can't have reached since the last
// look, unless another endpoint has come as far: what is read later must not be older
// than what was read before, so one absurd slot would be believed for ever.
func (s *Service) checkSlot(ctx context.Context, slot uint64) error {
	now, top := s.now(), &s.top
	if top.slot > 0 && slot <= top.slot+slotsAtOnce+uint64(max(now.Sub(top.at), 0)/time.Second)*slotsInSecond {
		return nil
	}
	if err := s.cfg.Chain.CheckSlot(ctx, slot); err != nil {
		return fmt.Errorf("read lanes: how far the chain is must be told by two endpoints after a start: mend the one that is away, or add a third (--rpc): %w", err)
	}
	*top = topSlot{slot, now}
	return nil
}

const selectCredited = `SELECT coalesce(max(slot), 0) FROM scans`

// winnerOf returns which of the contents that were signed for a lane's open position
// brought the lane to state; ok is false where none did. Where more than one says so
// somebody who makes lane keys is lying, and none is believed: the lane's history tells.
//
// The contents are read after the state was: a content is committed before its
// first byte goes out, so that one that landed is there.
func winnerOf(contents []signedContent, state ionet.Key) (c chain.Content, ok bool) {
	found := 0
	for _, s := range contents {
		if s.to == state {
			c, found = s.Content, found+1
		}
	}
	return c, found == 1
}

// signedContent is a row of contents, with the key that the lane is handed to if it
// lands: not one that a signer tells now, but the one in the bytes that were signed.
type signedContent struct {
	chain.Content
	to ionet.Key
}

// signedAt returns the contents that were signed for the lanes' open positions, by lane.
func (s *Service) signedAt(ctx context.Context, lanes ...lane) (map[ionet.Key][]signedContent, error) {
	var names []string
	var positions []int64
	for _, l := range lanes {
		names, positions = append(names, l.name), append(positions, int64(l.position))
	}
	rows, err := s.pool.Query(ctx, selectSigned, names, positions)
	if err != nil {
		return nil, fmt.Errorf("load contents: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanSigned)
	if err != nil {
		return nil, fmt.Errorf("load contents: %w", err)
	}
	byLane := map[ionet.Key][]signedContent{}
	for _, c := range list {
		byLane[c.Lane] = append(byLane[c.Lane], c)
	}
	return byLane, nil
}

// All attempts of a content step the lane alike: one of them tells.
const selectSigned = `
SELECT DISTINCT ON (c.hash) c.hash, c.bytes, a.transaction FROM unnest($1::text[], $2::bigint[]) AS t (lane, position)
JOIN contents c ON c.lane = t.lane AND c.position = t.position
JOIN attempt_steps p ON p.content = c.hash JOIN attempts a ON a.message = p.message ORDER BY c.hash, a.message`

func scanSigned(row pgx.CollectableRow) (c signedContent, err error) {
	var hash, data, tx []byte
	if err := row.Scan(&hash, &data, &tx); err != nil {
		return c, err
	}
	if c.Content, err = chain.ParseContent(data); err != nil {
		return c, err
	}
	if c.Hash() != ionet.Hash(hash) {
		return c, fmt.Errorf("content %x has other bytes than its hash says", hash)
	}
	st, err := stepIn(tx, c.Lane)
	c.to = st.To
	return c, err
}

// stepIn returns how a transaction of ours steps a lane.
func stepIn(tx []byte, address ionet.Key) (chain.Step, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return chain.Step{}, fmt.Errorf("read an attempt: %w", err)
	}
	for _, st := range d.Plan.Steps {
		if st.Lane == address {
			return st, nil
		}
	}
	return chain.Step{}, fmt.Errorf("read an attempt: it does not step lane %s", address)
}

// storedContent is a row of contents.
type storedContent struct {
	chain.Content
	hash  ionet.Hash
	state string
}

func scanContent(row pgx.CollectableRow) (storedContent, error) {
	var hash, data []byte
	var c storedContent
	if err := row.Scan(&hash, &data, &c.state); err != nil {
		return c, err
	}
	c.hash = ionet.Hash(hash)
	var err error
	if c.Content, err = chain.ParseContent(data); err != nil {
		return c, err
	}
	if c.Content.Hash() != c.hash {
		return c, fmt.Errorf("content %s has other bytes than its hash says", c.hash)
	}
	return c, nil
}

// laneNamed returns the lane of that name; names come from the network file.
func laneNamed(lanes []lane, name string) lane {
	for _, l := range lanes {
		if l.name == name {
			return l
		}
	}
	return lane{}
}
