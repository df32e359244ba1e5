// Conformance of localnet with @solana/web3.js 1.x and @solana/spl-token: each method and
// subscription of Connection that localnet has, with the results checked.
//   node web3.mjs <rpc url>      (websockets are expected at port + 1)
import assert from 'node:assert/strict';
import * as web3 from '@solana/web3.js';
import * as spl from '@solana/spl-token';
import * as kit from '@solana/kit';
import { getTransferSolInstruction } from '@solana-program/system';

const [url] = process.argv.slice(2);
const connection = new web3.Connection(url, 'confirmed');
const MEMO_V3 = new web3.PublicKey('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
const payer = web3.Keypair.generate();
const friend = web3.Keypair.generate();
const any = { maxSupportedTransactionVersion: 1 };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const subscribed = [];
function first(subscribe, want = () => true) {
  return new Promise((resolve) => subscribed.push(subscribe((...args) => want(...args) && resolve(args))));
}
async function confirm(signature, latest) {
  const { value } = await connection.confirmTransaction({ signature, ...latest }, 'confirmed');
  assert.equal(value.err, null);
  return signature;
}

// An airdrop confirmed by websocket, and what subscribers see.
const heard = Promise.all([
  first((f) => connection.onAccountChange(payer.publicKey, f)),
  first((f) => connection.onProgramAccountChange(web3.SystemProgram.programId, f), (a) => a.accountId.equals(payer.publicKey)),
  first((f) => connection.onLogs(payer.publicKey, f)),
]);
// Subscriptions are asked for in this order: with a slot's notice, the three are in force.
const [[slotInfo], [root]] = await Promise.all([first((f) => connection.onSlotChange(f)), first((f) => connection.onRootChange(f))]);
const latest = await connection.getLatestBlockhash();
const airdrop = await confirm(await connection.requestAirdrop(payer.publicKey, 10 * web3.LAMPORTS_PER_SOL), latest);
const [[account], [program], [logs]] = await heard;
assert.equal(account.lamports, 10 * web3.LAMPORTS_PER_SOL);
assert.equal(program.accountInfo.lamports, 10 * web3.LAMPORTS_PER_SOL);
assert.equal(logs.signature, airdrop);
assert.ok(slotInfo.slot > slotInfo.root && root > 0);
for (const [i, remove] of ['removeAccountChangeListener', 'removeProgramAccountChangeListener', 'removeOnLogsListener', 'removeSlotChangeListener', 'removeRootChangeListener'].entries()) await connection[remove](subscribed[i]);
assert.equal(await connection.getBalance(payer.publicKey), 10 * web3.LAMPORTS_PER_SOL);

// Legacy: a transfer and a memo.
const memo = new web3.TransactionInstruction({ programId: MEMO_V3, keys: [{ pubkey: payer.publicKey, isSigner: true, isWritable: false }], data: Buffer.from('hello') });
const legacy = await web3.sendAndConfirmTransaction(connection, new web3.Transaction().add(
  web3.SystemProgram.transfer({ fromPubkey: payer.publicKey, toPubkey: friend.publicKey, lamports: 1_000_000_000 }), memo), [payer]);

// Tokens with the spl-token helpers.
const mint = await spl.createMint(connection, payer, payer.publicKey, null, 8);
const mine = await spl.getOrCreateAssociatedTokenAccount(connection, payer, mint, payer.publicKey);
const theirs = await spl.getOrCreateAssociatedTokenAccount(connection, payer, mint, friend.publicKey);
await spl.mintTo(connection, payer, mint, mine.address, payer, 1_000_000_000n);
await spl.transferChecked(connection, payer, mine.address, mint, theirs.address, payer, 250_000_000n, 8);
await spl.approve(connection, payer, mine.address, friend.publicKey, payer, 7n);
assert.equal((await spl.getAccount(connection, mine.address)).delegatedAmount, 7n);
assert.equal((await spl.getMint(connection, mint)).supply, 1_000_000_000n);
assert.equal((await connection.getTokenAccountBalance(theirs.address)).value.uiAmountString, '2.5');
assert.equal((await connection.getTokenSupply(mint)).value.amount, '1000000000');
assert.ok((await connection.getTokenLargestAccounts(mint)).value[0].address.equals(mine.address));
assert.equal((await connection.getTokenAccountsByOwner(friend.publicKey, { mint })).value.length, 1);
assert.equal((await connection.getParsedTokenAccountsByOwner(friend.publicKey, { programId: spl.TOKEN_PROGRAM_ID })).value[0].account.data.parsed.info.tokenAmount.amount, '250000000');
await assert.rejects(spl.transferChecked(connection, payer, mine.address, mint, theirs.address, payer, 1n << 60n, 8), (e) => e instanceof web3.SendTransactionError && e.logs.length > 0);
assert.ok(await spl.createWrappedNativeAccount(connection, payer, payer.publicKey, 12345n));

// v0 with a lookup table.
const [create, table] = web3.AddressLookupTableProgram.createLookupTable({ authority: payer.publicKey, payer: payer.publicKey, recentSlot: await connection.getSlot() - 1 });
const extend = web3.AddressLookupTableProgram.extendLookupTable({ payer: payer.publicKey, authority: payer.publicKey, lookupTable: table, addresses: [friend.publicKey, mint] });
await web3.sendAndConfirmTransaction(connection, new web3.Transaction().add(create, extend), [payer]);
const lookup = (await connection.getAddressLookupTable(table)).value;
assert.equal(lookup.state.addresses.length, 2);
async function versioned(build) {
  const latest = await connection.getLatestBlockhash();
  const tx = new web3.VersionedTransaction(build(latest.blockhash));
  tx.sign([payer]);
  return confirm(await connection.sendTransaction(tx), latest);
}
const pay = web3.SystemProgram.transfer({ fromPubkey: payer.publicKey, toPubkey: friend.publicKey, lamports: 5 });
while ((await connection.getSlot()) <= lookup.state.lastExtendedSlot) await sleep(5); // addresses can be used from the slot after the one that added them
const v0 = await versioned((recentBlockhash) => new web3.TransactionMessage({ payerKey: payer.publicKey, recentBlockhash, instructions: [pay] }).compileToV0Message([lookup]));

// v1, which this client reads but does not write: the bytes are kit's.
const lifetime = await connection.getLatestBlockhash();
const signer = await kit.createKeyPairSignerFromBytes(payer.secretKey);
const v1Message = kit.pipe(
  kit.createTransactionMessage({ version: 1 }),
  (m) => kit.setTransactionMessageFeePayerSigner(signer, m),
  (m) => kit.setTransactionMessageLifetimeUsingBlockhash({ blockhash: lifetime.blockhash, lastValidBlockHeight: BigInt(lifetime.lastValidBlockHeight) }, m),
  (m) => kit.setTransactionMessageConfig({ computeUnitLimit: 10_000, loadedAccountsDataSizeLimit: 100_000, priorityFeeLamports: 9n }, m),
  (m) => kit.appendTransactionMessageInstruction(getTransferSolInstruction({ source: signer, destination: friend.publicKey.toBase58(), amount: 5n }), m),
);
const v1Bytes = kit.getTransactionEncoder().encode(await kit.signTransactionMessageWithSigners(v1Message));
const v1 = await confirm(await connection.sendRawTransaction(v1Bytes), lifetime);

// History.
const statuses = (await connection.getSignatureStatuses([legacy, v0], { searchTransactionHistory: true })).value;
assert.deepEqual(statuses.map((s) => s.err), [null, null]);
const got = await connection.getTransaction(v0, any);
assert.deepEqual(got.meta.loadedAddresses.writable.map(String), [String(friend.publicKey)]);
assert.equal(got.version, 0);
const parsed = await connection.getParsedTransaction(v0, any);
assert.equal(parsed.transaction.message.instructions[0].parsed.type, 'transfer');
assert.equal(parsed.transaction.message.accountKeys.find((k) => k.pubkey.equals(friend.publicKey)).source, 'lookupTable');
const parsedV1 = await connection.getParsedTransaction(v1, any);
assert.equal(parsedV1.version, 1);
assert.equal(parsedV1.meta.fee, 5009);
assert.equal((await connection.getTransaction(v1, any)).transaction.message.recentBlockhash, lifetime.blockhash);
assert.equal((await connection.getParsedTransactions([legacy, v0], any)).length, 2); // one batch
const signatures = await connection.getSignaturesForAddress(friend.publicKey, { limit: 2 });
assert.deepEqual(signatures.map((s) => s.signature), [v1, v0]);
assert.equal((await connection.getSignaturesForAddress(friend.publicKey)).find((s) => s.signature === legacy).memo, '[5] hello');

// Accounts.
assert.equal((await connection.getParsedAccountInfo(mint)).value.data.parsed.type, 'mint');
assert.equal((await connection.getAccountInfo(theirs.address)).data.length, 165);
assert.equal((await connection.getMultipleAccountsInfo([mint, payer.publicKey])).length, 2);
assert.equal((await connection.getMultipleParsedAccounts([mint])).value[0].data.parsed.info.decimals, 8);
const holders = await connection.getProgramAccounts(spl.TOKEN_PROGRAM_ID, { filters: [{ dataSize: 165 }, { memcmp: { offset: 0, bytes: mint.toBase58() } }] });
assert.equal(holders.length, 2);
assert.equal((await connection.getParsedProgramAccounts(spl.TOKEN_PROGRAM_ID, { filters: [{ dataSize: 165 }, { memcmp: { offset: 32, bytes: friend.publicKey.toBase58() } }] })).length, 1);
assert.equal(await connection.getMinimumBalanceForRentExemption(165), 293 * 5080);
assert.equal((await connection.getParsedAccountInfo(web3.SYSVAR_CLOCK_PUBKEY)).value.data.parsed.type, 'clock');

// Blocks.
const slot = got.slot;
const block = await connection.getBlock(slot, any);
assert.equal(block.transactions[0].transaction.signatures[0], v0);
assert.deepEqual((await connection.getBlockSignatures(slot)).signatures, [v0]);
assert.equal((await connection.getParsedBlock(slot, any)).transactions.length, 1);
assert.deepEqual(await connection.getBlocks(slot - 1, slot), [slot - 1, slot]);
assert.equal(await connection.getBlockTime(slot), block.blockTime);

// Simulation.
const message = new web3.TransactionMessage({ payerKey: payer.publicKey, recentBlockhash: (await connection.getLatestBlockhash()).blockhash, instructions: [pay] }).compileToV0Message();
const simulated = (await connection.simulateTransaction(new web3.VersionedTransaction(message), { accounts: { encoding: 'base64', addresses: [friend.publicKey.toBase58()] }, innerInstructions: true })).value;
assert.equal(simulated.err, null);
assert.ok(simulated.accounts[0].lamports > 1_000_000_000);
const unsigned = (await connection.simulateTransaction(new web3.VersionedTransaction(message), { sigVerify: true }).catch((e) => e.message));
assert.match(String(unsigned), /signature verification failure/i);
assert.equal((await connection.getFeeForMessage(message)).value, 5000);

// The chain itself.
assert.equal((await connection.isBlockhashValid(message.recentBlockhash)).value, true);
assert.ok((await connection.getEpochInfo()).absoluteSlot >= slot);
assert.equal((await connection.getEpochSchedule()).slotsPerEpoch, 432_000);
assert.ok((await connection.getBlockHeight()) > 0 && (await connection.getSlot('processed')) >= (await connection.getSlot('finalized')));
const leader = await connection.getSlotLeader();
assert.deepEqual((await connection.getSlotLeaders(slot, 1)).map(String), [leader]);
assert.equal((await connection.getClusterNodes())[0].pubkey, leader);
assert.ok((await connection.getGenesisHash()).length > 30);
assert.equal(await connection.getFirstAvailableBlock(), 0);
assert.equal(await connection.getMinimumLedgerSlot(), 0);
assert.ok((await connection.getTransactionCount()) > 8);
assert.ok((await connection.getVersion())['solana-core']);
assert.ok((await connection.getSupply()).value.total > 0);
assert.deepEqual((await connection.getVoteAccounts()).current, []);
assert.equal((await connection.getRecentPerformanceSamples(1)).length, 1);
assert.ok((await connection.getRecentPrioritizationFees()).length > 0);
await connection.confirmTransaction({ signature: v1, ...(await connection.getLatestBlockhash()) }, 'finalized');
console.log('ok');
process.exit(0);
