package settlement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"strings"

	"github.com/gagliardetto/solana-go"
	associated "github.com/gagliardetto/solana-go/programs/associated-token-account"
	"github.com/gagliardetto/solana-go/programs/token"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// outsiderFaults are what payees, wallets and strangers do.
func outsiderFaults() []matrixFault {
	pays := func(k matrixKind, _ string) bool { return k.payee != nil }
	return []matrixFault{
		{name: "payee closes", what: "the payee moves its tokens elsewhere and closes its token account at the step.", meets: pays, at: does(func(c *cell, _ int) { c.closeAccount(c.kind.payee(c.arena)) }), heal: (*cell).reopenAccount},
		{
			name: "payee frozen", what: "the payee's token account is frozen at the step.", meets: pays,
			at:   does(func(c *cell, _ int) { c.freezeAccount(c.kind.payee(c.arena), true) }),
			heal: func(c *cell) { c.freezeAccount(c.kind.payee(c.arena), false) },
		},
		{name: "gifts", what: "strangers send lamports to a lane, its one-time key, the lane key and the vault, and tokens to the vault and to an account that the lane owns.", at: does(func(c *cell, n int) { c.give(n) })},
		{
			name: "second signature", what: "the wallet makes another valid signature over the same message and sends that.", meets: func(k matrixKind, _ string) bool { return k.wallet },
			at:   does(func(c *cell, _ int) { c.wires.Hook(func(string) { c.signAgain() }) }),
			heal: func(c *cell) { c.wires.Hook(nil) },
		},
	}
}

// hasAccount reports whether h's wallet has a token account, confirmed, and what is in it.
func (c *cell) hasAccount(h *host) (uint64, bool) {
	b, _, err := c.clean.TokenBalance(c.t.Context(), chain.TokenAccount(h.payout, c.net.Network.Mint), c.net.Network.Mint, rpc.Confirmed, 0)
	return b.Base(), err == nil
}

// closeAccount lets h move its tokens elsewhere and close its token account.
func (c *cell) closeAccount(h *host) {
	c.advance(1)
	held, ok := c.hasAccount(h)
	if !ok {
		return
	}
	c.freeze(h, false) // it may be by what the kind prepared
	c.advance(1)
	account := solana.PublicKey(chain.TokenAccount(h.payout, c.net.Network.Mint))
	owner := solana.PublicKey(h.payout)
	var list []solana.Instruction
	if held > 0 {
		list = append(list, c.transferOut(h, chain.TokenAccount(c.dora.payout, c.net.Network.Mint), held))
	}
	c.bySolana(h, append(list, token.NewCloseAccountInstruction(account, owner, owner, nil).Build())...)
	c.hidden[h.payout] += held
	c.advance(2)
}

// reopenAccount opens it again.
func (c *cell) reopenAccount() {
	c.advance(c.slots)
	if h := c.kind.payee(c.arena); c.step != "" {
		if _, ok := c.hasAccount(h); !ok {
			c.openAccount(h)
		}
	}
	c.advance(c.slots)
	c.release()
}

func (c *cell) freezeAccount(h *host, frozen bool) {
	c.advance(1)
	if _, ok := c.hasAccount(h); ok {
		c.freeze(h, frozen)
	}
	c.advance(2)
	if !frozen {
		c.release()
	}
}

// give lets strangers send lamports to lanes, their one-time keys, the lane key and
// the vault, and tokens to the vault and to an account that a lane owns.
func (c *cell) give(n int) {
	c.advance(1)
	lanes := c.net.Network.Lanes
	l := lanes[n%len(lanes)]
	var c1 []byte
	if err := c.direct().QueryRow(c.t.Context(), `SELECT chain FROM lanes WHERE name = $1`, l.Name).Scan(&c1); err != nil {
		c.t.Error(err)
		return
	}
	once := chain.PublicOf(c.net.Keys.Secret.Key(ionet.Hash(c1)))
	for _, to := range []ionet.Key{l.Address, once, chain.PublicOf(c.net.Keys.Lane), c.net.Network.Vaults.Reward} {
		if _, err := c.node.Airdrop(solana.PublicKey(to), 2_000_000); err != nil {
			c.t.Error(err)
		}
	}
	if held, _ := c.hasAccount(c.carol); held < 2 {
		return
	}
	mint, payer := solana.PublicKey(c.net.Network.Mint), solana.PublicKey(c.carol.payout)
	ofLane := chain.TokenAccount(l.Address, c.net.Network.Mint)
	var list []solana.Instruction
	if exists, _, err := c.clean.Accounts(c.t.Context(), []ionet.Key{ofLane}, rpc.Confirmed, 0); err == nil && !exists[0].Exists() {
		list = append(list, associated.NewCreateInstruction(payer, solana.PublicKey(l.Address), mint).Build())
	}
	c.bySolana(c.carol, append(list, c.transferOut(c.carol, ofLane, 1), c.transferOut(c.carol, c.net.Network.Vaults.Reward, 1))...)
	c.hidden[c.carol.payout] += 2
	c.advance(2)
}

// signAgain sends the newest live claim with another valid signature of the wallet.
func (c *cell) signAgain() {
	if c.resigned {
		return
	}
	var tx []byte
	err := c.direct().QueryRow(c.t.Context(), `SELECT transaction FROM attempts WHERE kind = $1 AND state = 'live' ORDER BY created_at DESC LIMIT 1`, int16(chain.KindClaim)).Scan(&tx)
	if err != nil {
		return // none is signed yet
	}
	d, err := chain.Decode(tx)
	if err != nil {
		c.t.Error(err)
		return
	}
	other := anotherSignature(c.wallet[d.FeePayer], d.Raw.Message)
	if !ed25519.Verify(d.FeePayer[:], d.Raw.Message, other) || bytes.Equal(other, d.Signatures[0][:]) {
		c.t.Error("the second signature is not another valid one")
	}
	again := bytes.Replace(tx, d.Signatures[0][:], other, 1)
	c.resigned = true
	if err := c.clean.Send(c.t.Context(), again, rpc.SendOptions{SkipPreflight: true}); err != nil {
		c.t.Logf("second signature: %v", err)
	}
}

// anotherSignature signs as Ed25519 does, but for the nonce, which may be anything.
func anotherSignature(key ed25519.PrivateKey, message []byte) []byte {
	h := sha512.Sum512(key.Seed())
	h[0] &= 248
	h[31] = h[31]&127 | 64
	a, err := scalar.NewFromBytesModOrder(h[:32])
	if err != nil {
		panic(err)
	}
	wide := func(parts ...[]byte) *scalar.Scalar {
		d := sha512.Sum512(bytes.Join(parts, nil))
		s, err := scalar.NewFromBytesModOrderWide(d[:])
		if err != nil {
			panic(err)
		}
		return s
	}
	r := wide([]byte("another nonce"), h[32:], message)
	var point curve.EdwardsPoint
	var packed curve.CompressedEdwardsY
	packed.SetEdwardsPoint(point.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r))
	k := wide(packed[:], key.Public().(ed25519.PublicKey), message)
	s := scalar.New().Add(scalar.New().Mul(k, a), r)
	out := make([]byte, 64)
	copy(out, packed[:])
	if err := s.ToBytes(out[32:]); err != nil {
		panic(err)
	}
	return out
}

// lie makes one of the two endpoints tell of each open content that it won, or, at
// every second step, that it did not when it does; where none is open, of a key
// that nobody knows.
func (c *cell) lie(n int) {
	rows, err := c.direct().Query(c.t.Context(), `
SELECT l.chain, c.bytes FROM lanes l LEFT JOIN contents c ON c.lane = l.name AND c.position = l.position AND c.state = 'open'`)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer rows.Close()
	lies := map[ionet.Key]ionet.Key{}
	for rows.Next() {
		var c1, content []byte
		if err := rows.Scan(&c1, &content); err != nil {
			c.t.Error(err)
			return
		}
		from, to := c.laneKey(ionet.Hash(c1)), ionet.Key(ionet.HashOf([]byte("no key"), c1))
		if parsed, err := chain.ParseContent(content); err == nil {
			to = c.laneKey(parsed.Next())
			if n%2 == 1 {
				from, to = to, from
			}
		}
		lies[from] = to
	}
	c.wires.Twist(func(_, endpoint string, answer []byte) []byte {
		if !strings.HasSuffix(endpoint, "/a") {
			return answer
		}
		return twistKeys(answer, lies)
	})
}

func (c *cell) laneKey(h ionet.Hash) ionet.Key { return chain.PublicOf(c.net.Keys.Secret.Key(h)) }

// twistKeys changes keys in the data of accounts of an answer.
func twistKeys(answer []byte, lies map[ionet.Key]ionet.Key) []byte {
	words := strings.Split(string(answer), `"`)
	for i, word := range words {
		data, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(data) != chain.MintSize {
			continue
		}
		for from, to := range lies {
			if at := bytes.Index(data, from[:]); at >= 0 {
				copy(data[at:], to[:])
				words[i] = base64.StdEncoding.EncodeToString(data)
				break
			}
		}
	}
	return []byte(strings.Join(words, `"`))
}

// endLie lets the endpoint lie for a few passes more and then tell the truth.
func (c *cell) endLie() {
	for range 3 {
		c.settleOnce()
	}
	c.wires.Twist(nil)
	c.wires.Drop(false)
}
