package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// Decoded is one of our transactions, read from its bytes.
type Decoded struct {
	Raw
	Plan Plan // Message of it gives an equivalent transaction

	// Lighthouse holds the assertions that a wallet appended to a claim.
	Lighthouse []Instruction
}

// Decode reads a transaction that has exactly the form of proofs/FORMAT.md,
// section 11; everything else is an error. It does not verify signatures: a
// claim is decoded before all have signed.
func Decode(tx []byte) (*Decoded, error) {
	t, _, err := parseTransaction(tx)
	if err != nil {
		return nil, err
	}
	raw, err := ParseRaw(tx, nil, nil)
	if err != nil {
		return nil, err
	}
	d := &decoder{rest: raw.Instructions, plan: Plan{Version: raw.Version, FeePayer: raw.FeePayer, Blockhash: raw.Blockhash}}
	if raw.Version == 1 {
		c := t.Message.TransactionConfig
		if c.HeapSize != nil || c.ComputeUnitLimit == nil || c.LoadedAccountsDataSizeLimit == nil || c.PriorityFee != nil && *c.PriorityFee == 0 {
			return nil, errors.New("decode transaction: config is not unit limit, data limit and perhaps a fee")
		}
		d.plan.Budget = Budget{ComputeUnits: *c.ComputeUnitLimit, LoadedBytes: *c.LoadedAccountsDataSizeLimit}
		if c.PriorityFee != nil {
			d.plan.Budget.PriorityLamports = *c.PriorityFee
		}
	}
	if err := d.read(); err != nil {
		return nil, fmt.Errorf("decode transaction: instruction %d: %w", len(raw.Instructions)-len(d.rest), err)
	}
	out := &Decoded{Raw: *raw, Plan: d.plan, Lighthouse: d.rest}
	if err := out.check(); err != nil {
		return nil, fmt.Errorf("decode transaction: %w", err)
	}
	return out, nil
}

// Content returns the content of the position that the transaction passes on
// that lane; n and c are the caller's knowledge of the lane.
func (d *Decoded) Content(lane ionet.Key, n uint64, c ionet.Hash) (Content, error) {
	return d.Plan.Content(lane, n, c)
}

// check holds what concerns the transaction as a whole.
func (d *Decoded) check() error {
	if err := d.Plan.Check(); err != nil {
		return err
	}
	if d.Plan.Kind == KindClaim && d.Plan.Owners[d.Plan.Movements[0].Source] == d.FeePayer {
		return errors.New("the vault's owner pays the fee of a claim: that is the wallet's part")
	}
	if len(d.Lighthouse) > 0 && d.Plan.Kind != KindClaim {
		return fmt.Errorf("%s goes on after its memo", d.Plan.Kind)
	}
	for _, in := range d.Lighthouse {
		if in.Program != lighthouse {
			return fmt.Errorf("program %s follows the memo", in.Program)
		}
		for _, a := range in.Accounts {
			if slices.Contains(d.Signers[1:], a.Key) || d.Plan.isLaneKey(a.Key) {
				return fmt.Errorf("an assertion names %s, a key of ours", a.Key)
			}
		}
	}
	want := slices.SortedFunc(slices.Values(d.Plan.Signers()), compareKeys)
	got := slices.SortedFunc(slices.Values(d.Signers), compareKeys)
	if !slices.Equal(got, want) {
		return errors.New("signers are not those that the instructions need")
	}
	return d.checkPrivileges()
}

// checkPrivileges compares what the message grants to each address with what
// the instructions need. Lighthouse instructions may need more, so that with
// them only too little is refused.
func (d *Decoded) checkPrivileges() error {
	need := map[ionet.Key]bool{d.FeePayer: true} // address -> writable
	name := func(key ionet.Key, writable bool) { need[key] = need[key] || writable }
	for _, in := range d.Plan.instructions() {
		name(in.Program, false)
		for _, a := range in.Accounts {
			name(a.Key, a.Writable)
		}
	}
	if d.Plan.Version == 0 {
		name(budgetProgram, false)
	}
	extra := len(d.Lighthouse) > 0
	for _, in := range d.Lighthouse {
		name(in.Program, false)
		for _, a := range in.Accounts {
			name(a.Key, false)
		}
	}
	granted := d.writable()
	if len(granted) != len(need) {
		return errors.New("an address is named by no instruction")
	}
	for key, writable := range maps.All(granted) {
		needed, named := need[key]
		if !named {
			return fmt.Errorf("address %s is named by no instruction", key)
		}
		if needed && !writable || writable && !needed && !extra {
			return fmt.Errorf("address %s is writable: %t, the instructions need %t", key, writable, needed)
		}
	}
	return nil
}

// decoder takes instructions from the front of rest into plan.
type decoder struct {
	rest    []Instruction
	plan    Plan
	made    []ionet.Key // for each movement the wallet whose account was made before it; zero where none was
	retires bool
}

func (d *decoder) read() error {
	if d.plan.Version == 0 {
		if err := d.budget(); err != nil {
			return err
		}
	}
	for d.step() {
	}
	d.reference()
	d.retire()
	for {
		wallet := d.create()
		took, err := d.movement()
		if err != nil {
			return err
		}
		if !took && !wallet.IsZero() {
			return errors.New("a token account is made that no movement goes to")
		}
		if !took {
			break
		}
		d.made = append(d.made, wallet)
	}
	if err := d.handMint(); err != nil {
		return err
	}
	if err := d.memo(); err != nil {
		return err
	}
	return d.assign()
}

func (d *decoder) next() (Instruction, bool) {
	if len(d.rest) == 0 {
		return Instruction{}, false
	}
	return d.rest[0], true
}

func (d *decoder) budget() error {
	if len(d.rest) < 3 {
		return errors.New("three compute-budget instructions are missing")
	}
	units, price, loaded := d.rest[0], d.rest[1], d.rest[2]
	if !units.isData(budgetProgram, 5, budgetUnits) || !price.isData(budgetProgram, 9, budgetPrice) || !loaded.isData(budgetProgram, 5, budgetLoaded) ||
		len(units.Accounts)+len(price.Accounts)+len(loaded.Accounts) != 0 {
		return errors.New("not the compute-budget instructions: unit limit, unit price, data limit")
	}
	b := Budget{ComputeUnits: binary.LittleEndian.Uint32(units.Data[1:]), LoadedBytes: binary.LittleEndian.Uint32(loaded.Data[1:])}
	perUnit := binary.LittleEndian.Uint64(price.Data[1:])
	if perUnit > 1<<40 {
		return fmt.Errorf("price of %d micro-lamports a unit", perUnit)
	}
	// What the chain charges: ceil(price * limit / 10^6).
	b.PriorityLamports = (perUnit*uint64(b.ComputeUnits) + 999_999) / 1_000_000
	d.plan.Budget, d.rest = b, d.rest[3:]
	return nil
}

func (d *decoder) step() bool {
	in, ok := d.next()
	if !ok || !in.isData(tokenProgram, 35, tokenSetAuthority, authorityMintTokens, 1) || !in.grants(nil, "w", "s") {
		return false
	}
	d.plan.Steps = append(d.plan.Steps, Step{Lane: in.Accounts[0].Key, From: in.Accounts[1].Key, To: ionet.Key(in.Data[3:])})
	d.rest = d.rest[1:]
	return true
}

func (d *decoder) reference() {
	in, ok := d.next()
	if ok && in.isData(systemProgram, 12, systemTransfer, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) && in.grants(nil, "sw", "w") && in.Accounts[0].Key == d.plan.FeePayer {
		d.plan.Reference, d.rest = in.Accounts[1].Key, d.rest[1:]
	}
}

func (d *decoder) movement() (bool, error) {
	in, ok := d.next()
	if !ok || in.Program != tokenProgram || in.isData(tokenProgram, 35, tokenSetAuthority) {
		return false, nil
	}
	var m Movement
	var mint ionet.Key
	var by authority
	switch {
	case in.isData(tokenProgram, 10, tokenMintToChecked) && in.grants(&by, "w", "w"):
		m = Movement{Op: Mint, Source: in.Accounts[0].Key, Destination: in.Accounts[1].Key}
		mint = in.Accounts[0].Key
	case in.isData(tokenProgram, 10, tokenTransferChecked) && in.grants(&by, "w", "", "w"):
		m = Movement{Op: Transfer, Source: in.Accounts[0].Key, Destination: in.Accounts[2].Key}
		mint = in.Accounts[1].Key
	default:
		return false, errors.New("a token instruction that is neither step, MintToChecked nor TransferChecked")
	}
	var err error
	if m.Amount, err = ionet.NewAmount(binary.LittleEndian.Uint64(in.Data[1:])); err != nil {
		return false, err
	}
	return true, d.add(m, mint, by, in.Data[9])
}

// owner notes who signs for the source of the movements, or for the mint.
func (d *decoder) owner(source ionet.Key, by authority) {
	d.plan.Owners = map[ionet.Key]ionet.Key{source: by.key}
	if len(by.cosigners) > 0 {
		d.plan.Cosigners = map[ionet.Key][]ionet.Key{by.key: by.cosigners}
	}
}

// add appends m; mint, decimals and who signs for the source must be the same in
// all movements.
func (d *decoder) add(m Movement, mint ionet.Key, by authority, decimals uint8) error {
	p := &d.plan
	if p.Owners == nil {
		if !p.Mint.IsZero() && p.Mint != mint {
			return errors.New("mint of the movement is not that of the created account")
		}
		p.Mint, p.Decimals = mint, decimals
		d.owner(m.Source, by)
	}
	if _, ok := p.Owners[m.Source]; p.Mint != mint || p.Decimals != decimals || !ok || !p.authorityOf(m.Source).equal(by) {
		return errors.New("mint, decimals, source, owner or cosigners differ from those of the first movement")
	}
	p.Movements = append(p.Movements, m)
	d.rest = d.rest[1:]
	return nil
}

// handMint takes the SetAuthority of the mint by who mints; Plan.Check says where
// it may stand.
func (d *decoder) handMint() error {
	in, ok := d.next()
	if !ok || !in.isData(tokenProgram, 35, tokenSetAuthority) {
		return nil
	}
	var by authority
	if !in.isData(tokenProgram, 35, tokenSetAuthority, authorityMintTokens, 1) || !in.grants(&by, "w") ||
		d.plan.Mint.IsZero() || in.Accounts[0].Key != d.plan.Mint || !by.equal(d.plan.authorityOf(d.plan.Mint)) {
		return errors.New("a SetAuthority that is neither step nor that of the mint by who mints")
	}
	if d.plan.HandMintTo = ionet.Key(in.Data[3:]); d.plan.HandMintTo.IsZero() {
		return errors.New("the mint is given to the System program")
	}
	d.rest = d.rest[1:]
	return nil
}

func (d *decoder) memo() error {
	in, ok := d.next()
	if !ok || in.Program != memoProgram || len(in.Accounts) != 0 {
		return errors.New("not the memo without accounts that belongs here")
	}
	kind, err := KindOf(string(in.Data))
	if err != nil {
		return err
	}
	d.plan.Kind, d.plan.Memo, d.rest = kind, string(in.Data), d.rest[1:]
	if len(d.rest) == 0 {
		d.rest = nil
	}
	return nil
}

// grants reports whether the instruction has exactly these accounts with at
// least these privileges: s signer, w writable. Where by is not nil an authority
// follows them, which it reads.
func (in Instruction) grants(by *authority, privileges ...string) bool {
	if len(in.Accounts) < len(privileges) || by == nil && len(in.Accounts) > len(privileges) {
		return false
	}
	for i, p := range privileges {
		for _, c := range p {
			if c == 's' && !in.Accounts[i].Signer || c == 'w' && !in.Accounts[i].Writable {
				return false
			}
		}
	}
	if by == nil {
		return true
	}
	var ok bool
	*by, ok = authorityIn(in.Accounts[len(privileges):])
	return ok
}
