// The virtual machine of localnet: LiteSVM behind a pipe. Go (svm.go) writes frames to
// stdin, this answers each on stdout, in order, one at a time. A frame is a u32 length and
// a body; all integers are little-endian. A request body is an operation byte and its
// arguments; an answer's body is 0 and the result, or 1 and an error text. It keeps no
// state but the accounts and the clock, and ends when stdin closes.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { LiteSvm, Account, Clock, FailedTransactionMetadata } =
  createRequire(import.meta.url)('litesvm/dist/internal.js');

const svm = new LiteSvm();
svm.setSigverify(false); // signatures, blockhashes and duplicates are checked in Go
svm.setBlockhashCheck(false);
svm.setTransactionHistory(0n);
svm.withNativeMints();

class Reader {
  constructor(buf) { this.buf = buf; this.at = 0; }
  u8() { return this.buf[this.at++]; }
  u32() { const v = this.buf.readUInt32LE(this.at); this.at += 4; return v; }
  u64() { const v = this.buf.readBigUInt64LE(this.at); this.at += 8; return v; }
  i64() { const v = this.buf.readBigInt64LE(this.at); this.at += 8; return v; }
  bytes(n) { const v = this.buf.subarray(this.at, this.at + n); this.at += n; return v; }
  key() { return this.bytes(32); }
  blob() { return this.bytes(this.u32()); }
}

const u32 = (n) => { const b = Buffer.allocUnsafe(4); b.writeUInt32LE(n); return b; };
const json = (v) => { const b = Buffer.from(JSON.stringify(v)); return [u32(b.length), b]; };

// An account: u8 present (0: nothing follows), lamports u64, owner, executable u8, data.
function account(a) {
  if (!a || a.lamports() === 0n) return [Buffer.from([0])];
  const head = Buffer.allocUnsafe(9);
  head[0] = 1;
  head.writeBigUInt64LE(a.lamports(), 1);
  const data = a.data();
  return [head, a.owner(), Buffer.from([a.executable() ? 1 : 0]), u32(data.length), data];
}

// Errors without fields are the enums' numbers; Go holds their names.
function txError(e) {
  if (typeof e === 'number') return e;
  const name = e.constructor.name.replace('TransactionError', '');
  if (name !== 'InstructionError') return { [name]: e.index ?? e.accountIndex };
  const inner = e.err();
  const err = typeof inner === 'number' ? inner : 'code' in inner ? { Custom: inner.code } : { BorshIoError: inner.msg };
  return { InstructionError: [e.index, err] };
}

function outcome(r) {
  const failed = r instanceof FailedTransactionMetadata;
  const meta = typeof r.meta === 'function' ? r.meta() : r;
  const ret = meta.returnData();
  const b64 = (b) => Buffer.from(b).toString('base64');
  return {
    err: failed ? txError(r.err()) : null,
    logs: meta.logs(),
    units: Number(meta.computeUnitsConsumed()),
    inner: meta.innerInstructions().map((list) => list.map((i) => {
      const c = i.instruction();
      return { program: c.programIdIndex(), accounts: b64(c.accounts()), data: b64(c.data()), height: i.stackHeight() };
    })),
    returned: ret.data().length ? { program: b64(ret.programId()), data: b64(ret.data()) } : null,
  };
}

const operations = {
  // Sets rent: lamports per byte u64.
  1(r) { const rent = svm.getRent(); rent.lamportsPerByteYear = r.u64(); svm.setRent(rent); return []; },
  // Executes: transaction blob, keys u32 n; answers the outcome and the keys' accounts.
  2(r) {
    const out = json(outcome(svm.sendVersionedTransaction(r.blob())));
    for (let n = r.u32(); n > 0; n--) out.push(...account(svm.getAccount(r.key())));
    return out;
  },
  // Simulates: transaction blob; answers the outcome and the accounts it would leave.
  3(r) {
    const res = svm.simulateVersionedTransaction(r.blob());
    const post = res instanceof FailedTransactionMetadata ? [] : res.postAccounts();
    const out = [...json(outcome(res)), u32(post.length)];
    for (const p of post) out.push(p.address, ...account(p.account()));
    return out;
  },
  // Sets accounts: u32 n of key and account; an absent one is removed.
  4(r) {
    for (let n = r.u32(); n > 0; n--) {
      const key = r.key();
      if (!r.u8()) { svm.setAccount(key, new Account(0n, new Uint8Array(), new Uint8Array(32), false, 0n)); continue; }
      const lamports = r.u64(), owner = r.key(), executable = r.u8() === 1;
      svm.setAccount(key, new Account(lamports, r.blob(), owner, executable, 0n));
    }
    return [];
  },
  // Gets accounts: u32 n of keys.
  5(r) {
    const out = [];
    for (let n = r.u32(); n > 0; n--) out.push(...account(svm.getAccount(r.key())));
    return out;
  },
  // Gets all accounts of an owner: u32 n of key and account.
  6(r) {
    const list = svm.getProgramAccounts(r.key());
    return [u32(list.length), ...list.flatMap((a) => [a.address, ...account(a.account())])];
  },
  // Sets the clock: slot, epoch start time, epoch, leader schedule epoch, time.
  7(r) { svm.setClock(new Clock(r.u64(), r.i64(), r.u64(), r.u64(), r.i64())); return []; },
  // Sets the slot hashes, newest first: JSON list of {slot, hash}.
  8(r) { svm.setSlotHashes(JSON.parse(r.blob().toString()).map((h) => ({ slot: BigInt(h.slot), hash: h.hash }))); return []; },
  // Several requests, one after the other: u32 n of blob; answers n blobs, without their
  // first byte. The first that is refused refuses all.
  9(r) {
    const out = [];
    for (let n = r.u32(); n > 0; n--) {
      const sub = new Reader(r.blob());
      const b = Buffer.concat(operations[sub.u8()](sub));
      out.push(u32(b.length), b);
    }
    return out;
  },
};

function answer(body) {
  try {
    const r = new Reader(body);
    return [Buffer.from([0]), ...operations[r.u8()](r)];
  } catch (e) {
    return [Buffer.from([1]), Buffer.from(String(e?.message ?? e))];
  }
}

function readFull(n) {
  const buf = Buffer.allocUnsafe(n);
  for (let at = 0; at < n;) {
    const got = fs.readSync(0, buf, at, n - at, null);
    if (got === 0) process.exit(0); // our parent closed the pipe, or is gone
    at += got;
  }
  return buf;
}

for (;;) {
  const out = Buffer.concat(answer(readFull(readFull(4).readUInt32LE())));
  const frame = Buffer.concat([u32(out.length), out]);
  for (let at = 0; at < frame.length;) at += fs.writeSync(1, frame, at);
}
