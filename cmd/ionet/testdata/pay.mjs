// A wallet app follows a Solana Pay transaction request, as its specification has it, with
// @solana/web3.js and @solana/kit.
//   node pay.mjs <link> <rpc url> <key file> <mint>
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as web3 from '@solana/web3.js';
import * as spl from '@solana/spl-token';
import * as kit from '@solana/kit';

const [link, rpc, file, mint] = process.argv.slice(2);
assert.ok(link.startsWith('solana:'));
const url = decodeURIComponent(link.slice('solana:'.length));
const wallet = web3.Keypair.fromSecretKey(Uint8Array.from(JSON.parse(readFileSync(file, 'utf8'))));
const connection = new web3.Connection(rpc, 'confirmed');
const post = (account) => fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ account }) });

// What a browser asks first, from an origin of its own.
const preflight = await fetch(url, { method: 'OPTIONS', headers: { Origin: 'https://wallet.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' } });
assert.equal(preflight.status, 204);
assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
assert.match(preflight.headers.get('access-control-allow-methods'), /POST/);
assert.match(preflight.headers.get('access-control-allow-headers'), /Content-Type/);

const get = await fetch(url);
assert.equal(get.headers.get('access-control-allow-origin'), '*');
const { label, icon } = await get.json();
assert.ok(label.length > 0);
assert.ok(new URL(icon).protocol.startsWith('http'));
assert.match((await fetch(icon)).headers.get('content-type'), /^image\/svg\+xml/);

// A wallet without lamports is told why, in the words that wallets show.
const refused = await post(wallet.publicKey.toBase58());
assert.equal(refused.status, 409);
assert.equal(refused.headers.get('access-control-allow-origin'), '*');
assert.match((await refused.json()).message, /needs lamports/);

const latest = await connection.getLatestBlockhash();
const airdrop = await connection.requestAirdrop(wallet.publicKey, web3.LAMPORTS_PER_SOL);
assert.equal((await connection.confirmTransaction({ signature: airdrop, ...latest }, 'finalized')).value.err, null);

const answer = await post(wallet.publicKey.toBase58());
assert.equal(answer.status, 200, await answer.clone().text());
const { transaction, message } = await answer.json();
assert.match(message, /IO/);
const bytes = Buffer.from(transaction, 'base64');
assert.equal((await (await post(wallet.publicKey.toBase58())).json()).transaction, transaction, 'asked again');

// kit reads the same transaction: all signatures are there and right but the wallet's.
const decoded = kit.getTransactionDecoder().decode(bytes);
const compiled = kit.getCompiledTransactionMessageDecoder().decode(decoded.messageBytes);
assert.equal(compiled.version, 0);
assert.equal(compiled.staticAccounts[0], wallet.publicKey.toBase58());
let missing = 0;
for (const [signer, signature] of Object.entries(decoded.signatures)) {
  if (signature === null || signature.every((b) => b === 0)) {
    assert.equal(signer, wallet.publicKey.toBase58());
    missing++;
    continue;
  }
  const key = await crypto.subtle.importKey('raw', kit.getAddressEncoder().encode(signer), 'Ed25519', true, ['verify']);
  assert.ok(await crypto.subtle.verify('Ed25519', key, signature, decoded.messageBytes), `signature of ${signer}`);
}
assert.equal(missing, 1);

// web3.js signs and sends it: fee payer and blockhash stay as they came.
const tx = web3.VersionedTransaction.deserialize(bytes);
tx.sign([wallet]);
const signature = await connection.sendRawTransaction(tx.serialize());
const height = await connection.getBlockHeight();
const done = await connection.confirmTransaction({ signature, blockhash: tx.message.recentBlockhash, lastValidBlockHeight: height + 150 }, 'finalized');
assert.equal(done.value.err, null);
const account = spl.getAssociatedTokenAddressSync(new web3.PublicKey(mint), wallet.publicKey);
assert.ok(BigInt((await connection.getTokenAccountBalance(account, 'finalized')).value.amount) > 0n);
console.log('ok');
process.exit(0);
