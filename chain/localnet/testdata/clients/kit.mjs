// Conformance of localnet with @solana/kit: each method and subscription of its API that
// localnet has, called as kit calls it, with the results checked.
//   node kit.mjs <rpc url> <websocket url>
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import * as kit from '@solana/kit';
import * as system from '@solana-program/system';
import * as token from '@solana-program/token';
import { getAddMemoInstruction } from '@solana-program/memo';
import { getSetComputeUnitLimitInstruction, getSetComputeUnitPriceInstruction } from '@solana-program/compute-budget';

const [url, wsURL] = process.argv.slice(2);
const rpc = kit.createSolanaRpc(url);
const rpcSubscriptions = kit.createSolanaRpcSubscriptions(wsURL);
const MEMO_V3 = kit.address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
const commitment = 'confirmed';
const abort = new AbortController();
setMaxListeners(0, abort.signal);
const sendAndConfirm = kit.sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });

const payer = await kit.generateKeyPairSigner();
const mint = await kit.generateKeyPairSigner();
const friend = await kit.generateKeyPairSigner();

async function message(instructions, version = 0) {
  const { value: lifetime } = await rpc.getLatestBlockhash({ commitment }).send();
  return kit.pipe(
    kit.createTransactionMessage({ version }),
    (m) => kit.setTransactionMessageFeePayerSigner(payer, m),
    (m) => kit.setTransactionMessageLifetimeUsingBlockhash(lifetime, m),
    (m) => kit.appendTransactionMessageInstructions(instructions, m),
  );
}
async function sign(instructions, version) {
  return kit.signTransactionMessageWithSigners(await message(instructions, version));
}
async function send(instructions, version) {
  const tx = await sign(instructions, version);
  await sendAndConfirm(tx, { commitment, preflightCommitment: commitment });
  return kit.getSignatureFromTransaction(tx);
}
// listen has subscribed when it returns; `first` is the first notification that `want` accepts.
async function listen(pending, want = () => true) {
  const notifications = await pending.subscribe({ abortSignal: abort.signal });
  return { first: (async () => { for await (const n of notifications) if (want(n)) return n; })() };
}
const kitError = (code) => (e) => kit.isSolanaError(e, code) || assert.fail(`got ${e}`);

// Money, and what subscribers see of it.
const heard = await Promise.all([
  listen(rpcSubscriptions.accountNotifications(payer.address, { commitment, encoding: 'base64' })),
  listen(rpcSubscriptions.programNotifications(system.SYSTEM_PROGRAM_ADDRESS, { commitment, encoding: 'base64' }), (n) => n.value.pubkey === payer.address),
  listen(rpcSubscriptions.logsNotifications({ mentions: [payer.address] }, { commitment })),
  listen(rpcSubscriptions.slotNotifications()),
  listen(rpcSubscriptions.rootNotifications()),
]);
const airdrop = await kit.airdropFactory({ rpc, rpcSubscriptions })({ recipientAddress: payer.address, lamports: kit.lamports(10_000_000_000n), commitment });
const [account, program, logs, slot, root] = await Promise.all(heard.map((h) => h.first));
assert.equal(account.value.lamports, 10_000_000_000n);
assert.equal(program.value.account.lamports, 10_000_000_000n);
assert.equal(logs.value.signature, airdrop);
assert.ok(slot.slot > slot.parent && root > 0n);
assert.equal((await rpc.getBalance(payer.address, { commitment }).send()).value, 10_000_000_000n);

// A mint, an associated account, supply, a transfer with a memo, in v0.
const rent = await rpc.getMinimumBalanceForRentExemption(82n).send();
assert.equal(rent, 210n * 5080n);
const [ata] = await token.findAssociatedTokenPda({ owner: payer.address, mint: mint.address, tokenProgram: token.TOKEN_PROGRAM_ADDRESS });
const [friendATA] = await token.findAssociatedTokenPda({ owner: friend.address, mint: mint.address, tokenProgram: token.TOKEN_PROGRAM_ADDRESS });
const mintSignature = await send([
  system.getCreateAccountInstruction({ payer, newAccount: mint, lamports: rent, space: 82n, programAddress: token.TOKEN_PROGRAM_ADDRESS }),
  token.getInitializeMint2Instruction({ mint: mint.address, decimals: 8, mintAuthority: payer.address, freezeAuthority: null }),
  await token.getCreateAssociatedTokenIdempotentInstructionAsync({ payer, owner: payer.address, mint: mint.address }),
  await token.getCreateAssociatedTokenIdempotentInstructionAsync({ payer, owner: friend.address, mint: mint.address }),
  token.getMintToCheckedInstruction({ mint: mint.address, token: ata, mintAuthority: payer, amount: 1_000_000_000n, decimals: 8 }),
]);
const tokenChange = await listen(rpcSubscriptions.programNotifications(token.TOKEN_PROGRAM_ADDRESS,
  { commitment, encoding: 'jsonParsed', filters: [{ dataSize: 165n }, { memcmp: { offset: 32n, bytes: friend.address, encoding: 'base58' } }] }));
const move = [
  getSetComputeUnitLimitInstruction({ units: 50_000 }), getSetComputeUnitPriceInstruction({ microLamports: 1_000_000n }),
  token.getTransferCheckedInstruction({ source: ata, mint: mint.address, destination: friendATA, authority: payer, amount: 250_000_001n, decimals: 8 }),
  getAddMemoInstruction({ memo: 'grüße <&> 1', signers: [payer] }, { programAddress: MEMO_V3 }),
];
const transfer = await send(move);
assert.equal((await tokenChange.first).value.account.data.parsed.info.tokenAmount.uiAmountString, '2.50000001');

// The same in v1, where the config replaces the compute-budget instructions.
const v1Message = kit.setTransactionMessageConfig({ computeUnitLimit: 50_000, loadedAccountsDataSizeLimit: 1 << 20 }, await message([
  token.getTransferCheckedInstruction({ source: ata, mint: mint.address, destination: friendATA, authority: payer, amount: 1n, decimals: 8 }),
], 1));
const v1 = await kit.signTransactionMessageWithSigners(v1Message);
const v1Signature = kit.getSignatureFromTransaction(v1);
const landed = await listen(rpcSubscriptions.signatureNotifications(v1Signature, { commitment: 'finalized' }));
const confirmed = await listen(rpcSubscriptions.signatureNotifications(v1Signature, { commitment }));
const wire = kit.getBase64EncodedWireTransaction(v1);
assert.equal(await rpc.sendTransaction(wire, { encoding: 'base64', preflightCommitment: commitment, maxRetries: 0n }).send(), v1Signature);
assert.equal((await confirmed.first).value.err, null);

// Accounts in every encoding.
const mintInfo = (await rpc.getAccountInfo(mint.address, { commitment, encoding: 'jsonParsed' }).send()).value;
assert.deepEqual(mintInfo.data.parsed, { type: 'mint', info: { decimals: 8, freezeAuthority: null, isInitialized: true, mintAuthority: payer.address, supply: '1000000000' } });
const base64 = (await rpc.getAccountInfo(mint.address, { commitment, encoding: 'base64' }).send()).value;
assert.equal(Buffer.from(base64.data[0], 'base64').length, 82);
assert.equal(token.getMintDecoder().decode(Buffer.from(base64.data[0], 'base64')).supply, 1_000_000_000n);
assert.equal((await rpc.getAccountInfo(mint.address, { commitment, encoding: 'base64+zstd' }).send()).value.data[1], 'base64+zstd');
const slice = (await rpc.getAccountInfo(mint.address, { commitment, encoding: 'base58', dataSlice: { offset: 44, length: 1 } }).send()).value;
assert.deepEqual(slice.data, ['9', 'base58']);
assert.equal((await rpc.getAccountInfo((await kit.generateKeyPairSigner()).address).send()).value, null);
const many = (await rpc.getMultipleAccounts([payer.address, ata, (await kit.generateKeyPairSigner()).address], { commitment, encoding: 'jsonParsed' }).send()).value;
assert.equal(many[1].data.program, 'spl-token');
assert.equal(many[1].data.parsed.info.owner, payer.address);
assert.equal(many[2], null);
const holders = await rpc.getProgramAccounts(token.TOKEN_PROGRAM_ADDRESS, { commitment, encoding: 'base64', filters: [{ dataSize: 165n }, { memcmp: { offset: 0n, bytes: mint.address, encoding: 'base58' } }], withContext: true }).send();
assert.equal(holders.value.length, 2);

// Tokens.
assert.equal((await rpc.getTokenAccountBalance(friendATA, { commitment }).send()).value.amount, '250000002');
assert.equal((await rpc.getTokenSupply(mint.address, { commitment }).send()).value.uiAmountString, '10');
assert.deepEqual((await rpc.getTokenLargestAccounts(mint.address, { commitment }).send()).value.map((h) => h.address), [ata, friendATA]);
const owned = await rpc.getTokenAccountsByOwner(friend.address, { mint: mint.address }, { commitment, encoding: 'jsonParsed' }).send();
assert.equal(owned.value[0].account.data.parsed.info.tokenAmount.decimals, 8);
assert.equal((await rpc.getTokenAccountsByOwner(friend.address, { programId: token.TOKEN_PROGRAM_ADDRESS }, { commitment, encoding: 'base64' }).send()).value.length, 1);
assert.equal((await rpc.getTokenAccountsByDelegate(friend.address, { mint: mint.address }, { commitment, encoding: 'base64' }).send()).value.length, 0);

// History.
const statuses = (await rpc.getSignatureStatuses([transfer, airdrop], { searchTransactionHistory: true }).send()).value;
assert.equal(statuses[0].err, null);
assert.deepEqual(statuses[0].status, { Ok: null });
const parsed = await rpc.getTransaction(transfer, { commitment, encoding: 'jsonParsed', maxSupportedTransactionVersion: 0 }).send();
assert.equal(parsed.version, 0);
assert.equal(parsed.meta.fee, 5000n + 50_000n);
assert.deepEqual(parsed.transaction.message.instructions[2].parsed, { type: 'transferChecked', info: {
  source: ata, mint: mint.address, destination: friendATA, authority: payer.address,
  tokenAmount: { amount: '250000001', decimals: 8n, uiAmount: 2.50000001, uiAmountString: '2.50000001' } } });
assert.equal(parsed.transaction.message.instructions[3].parsed, 'grüße <&> 1');
assert.equal(parsed.meta.postTokenBalances.find((b) => b.owner === friend.address).uiTokenAmount.amount, '250000001');
const created = await rpc.getTransaction(mintSignature, { commitment, encoding: 'jsonParsed', maxSupportedTransactionVersion: 0 }).send();
assert.deepEqual(created.transaction.message.instructions.map((i) => i.parsed.type), ['createAccount', 'initializeMint2', 'createIdempotent', 'createIdempotent', 'mintToChecked']);
assert.deepEqual(created.meta.innerInstructions.map((i) => i.index), [2, 3]);
assert.ok(created.meta.innerInstructions[0].instructions.some((i) => i.parsed?.type === 'initializeAccount3' && i.stackHeight === 2));
const plain = await rpc.getTransaction(transfer, { commitment, encoding: 'json', maxSupportedTransactionVersion: 0 }).send();
assert.equal(plain.transaction.message.header.numRequiredSignatures, 1);
assert.deepEqual(plain.meta.loadedAddresses, { readonly: [], writable: [] });
const raw = await rpc.getTransaction(v1Signature, { commitment, encoding: 'base64', maxSupportedTransactionVersion: 1 }).send();
assert.equal(raw.transaction[0], wire);
const v1JSON = await rpc.getTransaction(v1Signature, { commitment, encoding: 'json', maxSupportedTransactionVersion: 1 }).send();
assert.equal(v1JSON.version, 1);
assert.deepEqual(v1JSON.transaction.message.transactionConfig, { computeUnitLimit: 50_000, heapSize: null, loadedAccountsDataSizeLimit: 1 << 20, priorityFee: null });
await assert.rejects(rpc.getTransaction(v1Signature, { commitment, encoding: 'json', maxSupportedTransactionVersion: 0 }).send(), kitError(kit.SOLANA_ERROR__JSON_RPC__SERVER_ERROR_UNSUPPORTED_TRANSACTION_VERSION));
const list = await rpc.getSignaturesForAddress(payer.address, { commitment, limit: 3 }).send();
assert.deepEqual(list.map((s) => s.signature), [v1Signature, transfer, mintSignature]);
assert.equal(list[1].memo, '[13] grüße <&> 1');
const older = await rpc.getSignaturesForAddress(payer.address, { commitment, before: transfer, until: airdrop }).send();
assert.deepEqual(older.map((s) => s.signature), [mintSignature]);
const nowhere = kit.signature('1'.repeat(64));
await assert.rejects(rpc.getSignaturesForAddress(payer.address, { commitment, before: nowhere }).send(), kitError(kit.SOLANA_ERROR__JSON_RPC__SERVER_ERROR_FILTER_TRANSACTION_NOT_FOUND));

// Blocks.
const at = parsed.slot;
const block = await rpc.getBlock(at, { commitment, encoding: 'json', maxSupportedTransactionVersion: 0, rewards: false, transactionDetails: 'full' }).send();
assert.equal(block.transactions[0].transaction.signatures[0], transfer);
assert.equal(block.parentSlot, at - 1n);
assert.deepEqual((await rpc.getBlock(at, { commitment, maxSupportedTransactionVersion: 0, rewards: false, transactionDetails: 'signatures' }).send()).signatures, [transfer]);
const keys = await rpc.getBlock(at, { commitment, maxSupportedTransactionVersion: 0, rewards: false, transactionDetails: 'accounts' }).send();
assert.equal(keys.transactions[0].transaction.accountKeys[0].pubkey, payer.address);
const bare = await rpc.getBlock(at, { commitment, transactionDetails: 'none' }).send();
assert.equal(bare.blockhash, block.blockhash);
assert.deepEqual(await rpc.getBlocks(at - 1n, at, { commitment }).send(), [at - 1n, at]);
assert.deepEqual(await rpc.getBlocksWithLimit(at - 1n, 2, { commitment }).send(), [at - 1n, at]);
assert.equal(await rpc.getBlockTime(at).send(), block.blockTime);
assert.equal((await rpc.getBlockCommitment(at).send()).commitment, null);
await assert.rejects(rpc.getBlock(1_000_000_000n, { transactionDetails: 'none' }).send(), kitError(kit.SOLANA_ERROR__JSON_RPC__SERVER_ERROR_BLOCK_NOT_AVAILABLE));

// Simulation.
const next = await sign([token.getTransferCheckedInstruction({ source: ata, mint: mint.address, destination: friendATA, authority: payer, amount: 5n, decimals: 8 })]);
const simulated = (await rpc.simulateTransaction(kit.getBase64EncodedWireTransaction(next), { commitment, encoding: 'base64', sigVerify: true, innerInstructions: true, accounts: { addresses: [friendATA], encoding: 'jsonParsed' } }).send()).value;
assert.equal(simulated.err, null);
assert.equal(simulated.accounts[0].data.parsed.info.tokenAmount.amount, '250000007');
assert.ok(simulated.unitsConsumed > 0n && simulated.logs.length > 0);
const stale = kit.setTransactionMessageLifetimeUsingBlockhash({ blockhash: kit.blockhash(friend.address), lastValidBlockHeight: 1n }, await message(move));
const staleWire = kit.getBase64EncodedWireTransaction(await kit.signTransactionMessageWithSigners(stale));
assert.equal((await rpc.simulateTransaction(staleWire, { commitment, encoding: 'base64' }).send()).value.err, 'BlockhashNotFound');
const replaced = (await rpc.simulateTransaction(staleWire, { commitment, encoding: 'base64', replaceRecentBlockhash: true }).send()).value;
assert.equal(replaced.err, null);
assert.ok(replaced.replacementBlockhash.lastValidBlockHeight > 0n);
const estimate = kit.estimateResourceLimitsFactory({ rpc });
assert.ok((await estimate(await message(move), { commitment })).computeUnitLimit > 0);
const tooMuch = await sign([token.getTransferCheckedInstruction({ source: ata, mint: mint.address, destination: friendATA, authority: payer, amount: 1n << 60n, decimals: 8 })]);
await assert.rejects(rpc.sendTransaction(kit.getBase64EncodedWireTransaction(tooMuch), { encoding: 'base64', preflightCommitment: commitment }).send(), (e) => {
  kitError(kit.SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE)(e);
  assert.ok(e.context.logs.length > 0 && e.context.unitsConsumed > 0);
  return kit.isSolanaError(e.cause, kit.SOLANA_ERROR__INSTRUCTION_ERROR__CUSTOM) && e.cause.context.code === 1;
});

// The chain itself.
const compiled = kit.compileTransactionMessage(await message(move));
const fee = await rpc.getFeeForMessage(Buffer.from(kit.getCompiledTransactionMessageEncoder().encode(compiled)).toString('base64'), { commitment }).send();
assert.equal(fee.value, 55_000n);
const latest = (await rpc.getLatestBlockhash({ commitment }).send()).value;
assert.equal((await rpc.isBlockhashValid(latest.blockhash, { commitment }).send()).value, true);
assert.ok((await rpc.getRecentPrioritizationFees([ata]).send()).some((f) => f.prioritizationFee === 1_000_000n));
const epoch = await rpc.getEpochInfo({ commitment }).send();
assert.ok(epoch.absoluteSlot >= at && epoch.slotsInEpoch === 432_000n);
await assert.rejects(rpc.getEpochInfo({ commitment, minContextSlot: 1_000_000_000n }).send(), kitError(kit.SOLANA_ERROR__JSON_RPC__SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED));
assert.ok((await rpc.getSlot({ commitment: 'processed' }).send()) >= (await rpc.getSlot({ commitment: 'finalized' }).send()));
assert.ok((await rpc.getBlockHeight({ commitment }).send()) > 0n);
assert.equal((await rpc.getEpochSchedule().send()).slotsPerEpoch, 432_000n);
assert.equal((await rpc.getGenesisHash().send()).length > 30, true);
assert.equal(await rpc.getHealth().send(), 'ok');
const { identity } = await rpc.getIdentity().send();
assert.equal(await rpc.getSlotLeader().send(), identity);
assert.deepEqual(await rpc.getSlotLeaders(at, 2).send(), [identity, identity]);
assert.equal((await rpc.getClusterNodes().send())[0].pubkey, identity);
assert.match((await rpc.getVersion().send())['solana-core'], /^\d+\.\d+\.\d+/);
assert.equal(await rpc.getFirstAvailableBlock().send(), 0n);
assert.equal(await rpc.minimumLedgerSlot().send(), 0n);
assert.ok((await rpc.getTransactionCount({ commitment }).send()) >= 4n);
assert.ok((await rpc.getSupply({ commitment }).send()).value.total > 0n);
assert.deepEqual(await rpc.getVoteAccounts().send(), { current: [], delinquent: [] });
assert.ok((await rpc.getRecentPerformanceSamples(1).send())[0].numTransactions >= 1n);
assert.equal(await rpc.getAgGenesisCert().send(), null);

assert.equal((await landed.first).value.err, null); // at finalized, by websocket
abort.abort();
console.log('ok');
process.exit(0);
