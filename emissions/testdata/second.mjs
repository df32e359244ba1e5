// A second implementation of emissions, written from FORMAT.md alone and sharing
// no code with the first. It reads one JSON request from standard input and writes
// one JSON answer to standard output; every integer is a BigInt, a string outside.
// The sections named below are those of FORMAT.md. Where FORMAT.md states a range
// it is enforced; no other is invented.
//
//   node second.mjs < request.json > answer.json

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const MAX_AMOUNT = (1n << 63n) - 1n;
const MAX_UINT64 = (1n << 64n) - 1n;
const MAX_EPOCHS = 1n << 20n;
const EPOCHS_PER_MONTH = 730n;
const LAST_MONTH = 1436n;

class Refusal extends Error {}

function refuse(reason) {
  throw new Refusal(reason);
}

// Parsing. One encoding per value.

// integer reads digits without a leading zero, as a string or as a safe number.
function integer(name, value, low = 0n, high = null) {
  const text = Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || !/^(0|[1-9][0-9]*)$/.test(text)) refuse(`${name} is not an integer`);
  const n = BigInt(text);
  if (n < low || (high !== null && n > high)) refuse(`${name} is outside ${low}..${high ?? ""}`);
  return n;
}

// decimal reads an exact decimal (1.1) as the fraction num/den, den a power of ten.
function decimal(name, text) {
  if (typeof text !== "string" || text.length > 40 || !/^(0|[1-9][0-9]*)(\.[0-9]+)?$/.test(text)) {
    refuse(`${name} is not an exact decimal`);
  }
  const [whole, fraction = ""] = text.split(".");
  return { num: BigInt(whole + fraction), den: 10n ** BigInt(fraction.length) };
}

function list(name, value) {
  if (!Array.isArray(value)) refuse(`${name} is not a list`);
  return value;
}

const min = (a, b) => (a < b ? a : b);
const max = (a, b) => (a > b ? a : b);
const sum = (values) => values.reduce((total, v) => total + v, 0n);

// 1. Schedule

const UNIT_BITS = 256n; // a unit is 2^-256: powers of q
const PART_BITS = 128n; // a part is 2^-128: sums of base units
const EXACT_STEPS = 512n;

// parameters checks the ranges of 1.1. A = G*r/d and q = 1-d are exact fractions.
function parameters(s) {
  const genesis = integer("genesis", s.genesis, 1n, MAX_AMOUNT);
  const cap = integer("cap", s.cap, genesis, MAX_AMOUNT);
  const N = integer("epochs", s.epochs, 1n, MAX_EPOCHS);
  const rate = decimal("first_year_rate", s.first_year_rate);
  const Y = integer("steps_per_year", s.steps_per_year, 1n, MAX_EPOCHS);
  const d = decimal("decay", s.decay);
  const L = integer("epochs_per_step", s.epochs_per_step ?? "1", 1n, N);
  if (N % L !== 0n) refuse("epochs is not a multiple of epochs_per_step");
  if (d.num === 0n || d.num >= d.den) refuse("decay is outside 0 < d < 1");
  const A = { num: genesis * rate.num * d.den, den: rate.den * Y * d.num };
  if (A.num >= A.den << 128n) refuse("A is not below 2^128");
  return { A, q: { num: d.den - d.num, den: d.den }, L, N, room: cap - genesis };
}

// lowerBounds gives low(j) in parts for j = 0..N/L, with
//
//   low(j) <= K(j) <= low(j) + (2j+3) parts.
//
// Proof. Let p(0) = 1 and p(j+1) = p(j)*q rounded down to units. q is multiplied as
// the exact fraction that it is, so only the rounding errs. If p(j) lacks at most j
// units of q^j, then p(j)*q lacks at most j*q < j of q^(j+1), and rounding takes less
// than one more: p(j+1) lacks at most j+1. So 1-p(j)-j units <= 1-q^j <= 1-p(j).
// A times the left end lacks at most A*j units of C(j), which is less than j parts
// since A < 2^128; rounding down to parts takes less than one more. Together less than
// j+1 parts. A left end below zero is taken as zero, which is no further from C(j).
// Clamping at cap-G brings no two numbers further apart.
function lowerBounds({ A, q, L, N, room }) {
  const one = 1n << UNIT_BITS;
  const scale = A.den << (UNIT_BITS - PART_BITS);
  const bounds = [];
  for (let j = 0n, p = one; j <= N / L; j++) {
    bounds.push(min((A.num * max(0n, one - p - j)) / scale, room << PART_BITS));
    p = (p * q.num) / q.den;
  }
  return bounds;
}

// exactDecision returns whether S(j*L+h) >= n, in integers over A.den * q.den^(j+1).
// Numerators of K(j) and K(j+1) are kept for the epochs of the same step.
function exactDecision({ A, q, L, room }) {
  let kept = null;
  return (j, h, n) => {
    if (kept?.j !== j) {
      const [a, b] = [q.num ** j, q.den ** j];
      const full = b * q.den;
      const limit = room * A.den * full;
      kept = {
        j,
        unit: A.den * full,
        from: min(A.num * (full - a * q.den), limit),
        to: min(A.num * (full - a * q.num), limit),
      };
    }
    return kept.from * (L - h) + kept.to * h >= n * L * kept.unit;
  };
}

// runningSums returns Cumulative(0..N). Every floor is certain: S(k) is a mean of K(j)
// and K(j+1), so it lies between the same mean of the lower bounds, rounded down to
// parts, and that plus 2j+6 parts (1.2, step 5). Either both ends have one integer part,
// or n, the only integer between them, is decided: by C(j) < A where n >= A, else in
// exact integers. What neither reaches is refused, as 1.2 wants, and never guessed.
function runningSums(p) {
  const low = lowerBounds(p);
  const reaches = exactDecision(p);
  const sums = [];
  for (let k = 0n; k <= p.N; k++) {
    const [j, h] = [k / p.L, k % p.L];
    const from = low[j];
    const s = h === 0n ? from : (from * (p.L - h) + low[j + 1n] * h) / p.L;
    const floor = s >> PART_BITS;
    const n = (s + 2n * j + 6n) >> PART_BITS;
    if (n === floor || floor >= p.room || n * p.A.den >= p.A.num) sums.push(floor);
    else if (j <= EXACT_STEPS) sums.push(reaches(j, h, n) ? n : floor);
    else refuse(`the sum of epoch ${k} is open`);
  }
  if (sums[p.N] < p.room) refuse("the epochs do not reach the cap");
  return sums;
}

// 1.4: the emissions of epochs 1..N, 8 bytes each, little-endian.
function schedule(s, request) {
  const sums = runningSums(parameters(s));
  const vector = Buffer.alloc(8 * (sums.length - 1));
  let total = 0n;
  for (let k = 1; k < sums.length; k++) {
    const emission = sums[k] - sums[k - 1];
    vector.writeBigUInt64LE(emission, 8 * (k - 1));
    total += emission;
  }
  const cumulative = {};
  for (const k of list("at", s.at ?? request.at ?? [])) {
    cumulative[k] = String(sums[integer("at", k, 0n, BigInt(sums.length - 1))]);
  }
  return { hash: createHash("sha256").update(vector).digest("hex"), sum: String(total), cumulative };
}

// 2. Genesis

// cut is the difference of floors that 2.1 and 3.1 share:
//
//   part(i) = floor(total*P(i)/whole) - floor(total*P(i-1)/whole)
function cut(total, points, whole) {
  let before = 0n;
  return points.map((point) => {
    const after = before + point;
    const part = (total * after) / whole - (total * before) / whole;
    before = after;
    return part;
  });
}

const CATEGORIES = ["seed", "series_a", "core", "research", "community"];

// 2.1: the community has what the four leave of the genesis supply.
function allocation({ reading, ...a }) {
  const genesis = integer("genesis", a.genesis, 1n, MAX_AMOUNT);
  const cap = integer("cap", a.cap, genesis, MAX_AMOUNT);
  if (reading !== "of_genesis" && reading !== "of_cap") refuse("reading is unknown");
  const amounts = cut(reading === "of_cap" ? cap : genesis, [125n, 102n, 113n, 160n], 1000n);
  const community = genesis - sum(amounts);
  if (community < 0n) refuse("the genesis supply does not cover the four shares of the cap");
  return [...amounts, community].map((amount, i) => ({ category: CATEGORIES[i], amount: String(amount) }));
}

// 2.2: a row of the table, as all and passed(k). cliff:M is tranches:M..M.
function unlockRule(text) {
  if (text === "immediate") return { all: 1n, passed: () => 1n };
  const match = /^(?:cliff:([0-9]+)|(tranches|linear):([0-9]+)\.\.([0-9]+))$/.exec(text);
  if (typeof text !== "string" || !match) refuse("unlock is unknown");
  const linear = match[2] === "linear";
  const A = integer("month", match[1] ?? match[3], linear ? 0n : 1n, LAST_MONTH);
  const B = integer("month", match[1] ?? match[4], linear ? A + 1n : A, LAST_MONTH);
  const all = linear ? EPOCHS_PER_MONTH * (B - A) : B - A + 1n;
  const since = linear ? (k) => k - EPOCHS_PER_MONTH * A : (k) => k / EPOCHS_PER_MONTH - A + 1n;
  return { all, passed: (k) => max(0n, min(since(k), all)) };
}

// Unlocked(k) = floor(a * passed / all)
function unlock({ text, amount, epochs }) {
  const a = integer("amount", amount);
  const { all, passed } = unlockRule(text);
  return list("epochs", epochs).map((k) => String((a * passed(integer("epoch", k))) / all));
}

// 3. Pools

// 3.1
function pools({ total, basis_points }) {
  const points = list("basis_points", basis_points).map((b) => integer("basis points", b, 0n, 10000n));
  if (sum(points) !== 10000n) refuse("basis points do not sum to 10000");
  return cut(integer("total", total), points, 10000n).map(String);
}

// sumOfWeights is W of section 4: 64 bits, as each weight.
function sumOfWeights(weights) {
  const W = sum(weights);
  if (W > MAX_UINT64) refuse("the weights sum to more than 64 bits");
  return W;
}

const weight = (value) => integer("weight", value, 0n, MAX_UINT64);

// 3.2, draw target: min(share, floor(W * micro_usd * 10^decimals / (1000 * samples * price)))
function draw(d) {
  const share = integer("share", d.share);
  const W = sumOfWeights(list("weights", d.weights).map(weight));
  const target = integer("micro_usd", d.micro_usd, 1n, 1000000000000n);
  const samples = integer("samples", d.samples, 1n);
  const decimals = integer("decimals", d.decimals, 0n, 8n);
  if (d.price === undefined || d.price === null) return "0";
  const price = integer("price", d.price, 1n);
  return String(min(share, (W * target * 10n ** decimals) / (1000n * samples * price)));
}

// 4. Devices of a pool: q(i) each, and one unit more for the u largest remainders. Lowercase
// hex of one length compares as its bytes do. The answer is in the order of the request.
function split({ total: text, weights }) {
  const total = integer("total", text, 0n, MAX_UINT64);
  const devices = list("weights", weights).map(({ uuid, weight: w }) => {
    if (typeof uuid !== "string" || !/^[0-9a-f]{32}$/.test(uuid)) refuse("uuid is not 16 bytes of hex");
    return { uuid, w: weight(w) };
  });
  const W = sumOfWeights(devices.map((d) => d.w));
  if (W === 0n) return devices.map(() => "0");
  for (const d of devices) {
    d.amount = (total * d.w) / W;
    d.rest = (total * d.w) % W;
  }
  const u = total - sum(devices.map((d) => d.amount));
  const ranked = [...devices].sort((a, b) => order(b.rest, a.rest) || order(a.uuid, b.uuid) || order(a.w, b.w));
  for (const d of ranked.slice(0, Number(u))) d.amount += 1n; // u is below the number of devices
  return devices.map((d) => String(d.amount));
}

const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// The request.

const SECTIONS = { schedules: schedule, allocations: allocation, unlocks: unlock, pools, draws: draw, splits: split };

function answer(section, entry, request) {
  try {
    return SECTIONS[section](entry, request);
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.message };
    throw error;
  }
}

const request = JSON.parse(readFileSync(0, "utf8"));
const result = {};
for (const section of Object.keys(SECTIONS)) {
  if (request[section]) result[section] = request[section].map((entry) => answer(section, entry, request));
}
process.stdout.write(JSON.stringify(result) + "\n");
