// Writes vouchers.json with the payment-channels code of the npm package @x402/svm,
// which derives channels and signs vouchers in x402 clients and servers:
//
//	npm install @x402/svm@2.27.0
//	node generate.mjs > vouchers.json
//
// The functions are in one of the package's chunks, whose name changes with the version.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createKeyPairSignerFromPrivateKeyBytes } from "@solana/kit";

const dist = dirname(createRequire(import.meta.url).resolve("@x402/svm").replace("/cjs/", "/esm/"));
const chunk = readdirSync(dist).find((f) => f.endsWith(".mjs") && /^  findPaymentChannelPda,$/m.test(readFileSync(join(dist, f), "utf8")));
const x402 = await import(join(dist, chunk));

const seed = (name) => createHash("sha256").update("x402 vector " + name).digest();
const signer = (name) => createKeyPairSignerFromPrivateKeyBytes(seed(name));
const max = (bits) => (1n << bits) - 1n;

const vectors = [];
for (let i = 0; i < 24; i++) {
  const [payer, payee, mint, authorized] = await Promise.all(["payer", "payee", "mint", "authorized"].map((n) => signer(n + (i % 7))));
  const salt = [0n, 1n, max(64n), 0x0123456789abcdefn][i % 4] + (i > 3 ? BigInt(i) : 0n) & max(64n);
  const openSlot = [0n, 424242n, max(63n)][i % 3];
  const channel = await x402.findPaymentChannelPda({
    payer: payer.address, payee: payee.address, mint: mint.address, authorizedSigner: authorized.address, salt, openSlot,
  });
  const cumulativeAmount = [1n, 2000n, max(63n), 987654321n, 0n][i % 5];
  const expiresAt = i % 6 === 5 ? 1766480400n : 0n;
  const voucher = { channelId: channel, cumulativeAmount, expiresAt };
  const message = x402.encodeVoucherMessageBytes(voucher);
  const signature = await x402.signVoucher(authorized, voucher);
  if (!(await x402.verifyVoucherSignature({ message, signatureBase58: signature, signerBase58: authorized.address }))) {
    throw new Error("the package does not verify its own voucher");
  }
  vectors.push({
    payer: payer.address, payee: payee.address, mint: mint.address, authorized_signer: authorized.address,
    authorized_seed: seed("authorized" + (i % 7)).toString("hex"), salt: String(salt), open_slot: String(openSlot), channel,
    cumulative: String(cumulativeAmount), expiry: Number(expiresAt), message: Buffer.from(message).toString("hex"), signature,
  });
}
console.log(JSON.stringify(vectors, null, 1));
