// Plays a provider at /delegate in a real Chromium, with a wallet that registers itself
// by Wallet Standard's own package. Says "ok" at the end, or what went wrong.
//
//   node delegate.mjs '{"chromium": ..., "url": ..., "seed": hex, "workers": [...], ...}'
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const require = createRequire(import.meta.url)
const given = JSON.parse(process.argv[2])
const registerJS = readFileSync(require.resolve('@wallet-standard/wallet').replace(/lib\/.*/, 'lib/cjs/register.js'), 'utf8')
const axeJS = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

// wallet is what runs in the page before its own script, as an extension's would.
const wallet = ({ registerJS, seed, address, mode, late }) => {
  const exports = {}
  new Function('exports', registerJS)(exports)
  const bytes = hex => Uint8Array.from(hex.match(/../g), b => parseInt(b, 16))
  const account = { address: address.text, publicKey: bytes(address.hex), chains: ['solana:mainnet', 'solana:devnet'], features: ['solana:signMessage'] }
  window.asked = []
  const signMessage = async (...inputs) => Promise.all(inputs.map(async ({ account: by, message }) => {
    if (by !== account) throw new Error('another account')
    window.asked.push(new TextDecoder().decode(message))
    if (mode === 'declines') throw Object.assign(new Error('User rejected the request.'), { code: 4001 })
    if (mode === 'breaks') throw new Error('the device is not plugged in')
    const signedMessage = mode === 'rewrites' ? Uint8Array.from([...message, 33]) : message
    const pkcs8 = Uint8Array.from([...bytes('302e020100300506032b657004220420'), ...bytes(mode === 'forges' ? seed.replace(/^../, 'ff') : seed)])
    const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
    return { signedMessage, signature: new Uint8Array(await crypto.subtle.sign('Ed25519', key, signedMessage)) }
  }))
  const made = {
    version: '1.0.0', name: 'Test wallet', accounts: [], chains: account.chains,
    icon: 'data:image/svg+xml;base64,' + btoa('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4.5" cy="4.5" r="4" fill="#7a5cff"/></svg>'),
    features: {
      'standard:connect': { version: '1.0.0', connect: async () => { if (mode === 'shy') throw Object.assign(new Error('User rejected'), { code: 4001 }); return { accounts: [account] } } },
      'standard:events': { version: '1.0.0', on: (_, f) => { window.change = () => f({ accounts: [] }); return () => {} } },
      'solana:signMessage': { version: '1.1.0', signMessage }
    }
  }
  const register = () => {
    exports.registerWallet({ ...made, name: 'No signer', features: { 'standard:connect': made.features['standard:connect'] } })
    exports.registerWallet({ ...made, name: 'Other chain', chains: ['ethereum:1'] })
    exports.registerWallet(made)
  }
  if (late) window.installed = register
  else register()
}

const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-gpu'] })
const link = (workers, more = '') => '#' + workers.map(w => 'worker=' + w).join('&') + more

// visit opens the page anew and collects what must not be: messages, requests elsewhere.
const visit = async ({ hash, mode, late, none, width = 1280, dark, below = '', expected = [] }, f) => {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: dark ? 'dark' : 'light' })
  const page = await context.newPage()
  const bad = []
  page.on('pageerror', e => bad.push('error: ' + e.message))
  page.on('console', m => { if (['error', 'warning'].includes(m.type()) && !expected.some(e => m.text().includes(e))) bad.push(m.text()) })
  page.on('request', r => { if (!r.url().startsWith(given.url) && !r.url().startsWith('data:')) bad.push('request to ' + r.url()) })
  if (!none) await page.addInitScript(wallet, { registerJS, seed: given.seed, address: given.address, mode, late })
  if (below) {
    await page.route('**/*', route => {
      const path = new URL(route.request().url()).pathname
      if (!path.startsWith(below + '/')) bad.push('request to ' + path)
      return route.fetch({ url: given.url + path.replace(below, '') }).then(response => route.fulfill({ response }))
    })
  }
  const response = await page.goto(given.url + below + '/delegate' + hash)
  await page.getByText(given.name, { exact: true }).waitFor()
  const problem = page.locator('#problem'), done = page.locator('#done'), sign = page.getByRole('button', { name: 'Sign with the wallet' })
  await f({ page, problem, done, sign, response, connect: () => page.getByRole('button', { name: 'Connect Test wallet' }).click() })
  assert.deepEqual(bad, [])
  await context.close()
}
const says = async (locator, pattern) => {
  await locator.waitFor({ state: 'visible', timeout: 20_000 })
  assert.match(await locator.innerText(), pattern)
}
// fits checks that nothing is cut off, and what axe finds.
const fits = async (page, name) => {
  const wide = await page.evaluate(() => [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80)))
  assert.deepEqual(wide, [], name)
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name + ' scrolls sideways')
  const { violations } = await page.evaluate(js => { (0, eval)(js); return axe.run() }, axeJS)
  assert.deepEqual(violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`), [], name)
  if (given.shots) await page.screenshot({ path: join(given.shots, name + '.png'), fullPage: true })
}
const unknown = ['status of 404'] // a worker that the service does not know yet

// The whole way: three workers, one signature.
await visit({ hash: link(given.workers), expected: unknown }, async ({ page, problem, done, sign, response, connect }) => {
  const policy = response.headers()['content-security-policy']
  assert.ok(policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'") && !policy.includes('unsafe'), policy)
  const items = page.getByRole('listitem')
  assert.equal(await items.count(), 3)
  await says(items.nth(0).getByText('At work'), /At work with 1 device; no statement yet\./)
  await says(items.nth(1).getByText('New'), /it has sent nothing yet/)
  assert.ok(await sign.isDisabled())
  assert.deepEqual(await page.getByRole('button', { name: /^Connect/ }).allInnerTexts(), ['Connect Test wallet'])
  await connect()
  await says(items.nth(0).getByText('works for'), new RegExp(`works for another wallet, ${given.other}`))
  const text = await page.locator('#text').innerText()
  assert.equal(text.split('\n').filter(l => l.startsWith('Worker: ')).length, 3)
  assert.ok(text.includes(`Provider: ${given.address.text}\nPayout wallet: ${given.address.text}\n`))
  await sign.focus()
  await page.keyboard.press('Enter')
  await says(done, /^Done\. All 3 workers may prove GPU time for .* Delegation [0-9a-f]{64}\.$/)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'done')
  assert.deepEqual(await page.evaluate(() => window.asked), [text])
  await says(items.nth(1).getByText('You delegated'), /You delegated it before; the new signature takes over/)
  assert.ok(await problem.isHidden())
})

// What is brought in runs not: the policy knows the page's own script alone.
await visit({ hash: '', none: true, expected: ['Content Security Policy'] }, async ({ page }) => {
  const ran = await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'window.ran = 1'
    document.body.append(script)
    document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.ran = 2">')
    return new Promise(done => setTimeout(() => done(window.ran), 200))
  })
  assert.equal(ran, undefined)
})

// Another payout wallet, as a link can name one, wants a word.
await visit({ hash: link(given.workers.slice(1, 2), `&payout=${given.other}&days=30`), late: true, expected: unknown }, async ({ page, done, sign, connect }) => {
  await page.getByText('No wallet of this browser').waitFor()
  assert.match(await page.locator('#command').innerText(), new RegExp(`--worker ${given.workers[1]}\\s.*--payout ${given.other}\\s.*--days 30`, 's'))
  await page.evaluate(() => window.installed())
  await connect()
  assert.ok(await page.getByText('No wallet of this browser').isHidden())
  assert.ok(await sign.isDisabled())
  await page.getByLabel(/which is not the wallet that signs/).check()
  await sign.click()
  await says(done, /^Done\. The worker may prove/)
  assert.match((await page.evaluate(() => window.asked))[0], new RegExp(`Payout wallet: ${given.other}\n`))
  await page.evaluate(() => window.change()) // the wallet takes the account back
  assert.ok(await sign.isDisabled())
})

// A word for one wallet is none for another, however that one came in, and none for a
// link that is opened again.
await visit({ hash: link(given.workers.slice(1, 2), `&payout=${given.other}`), expected: unknown }, async ({ page, done, sign, connect }) => {
  await connect()
  const agree = page.getByLabel(/which is not the wallet that signs/), paid = page.locator('#paid')
  const open = async hash => {
    await page.evaluate(h => { location.hash = h }, hash)
    await page.waitForFunction(() => !document.getElementById('agree').checked)
  }
  for (const payout of [given.workers[2], given.other, given.workers[2]]) {
    await agree.check()
    assert.ok(await sign.isEnabled())
    await open(link(given.workers.slice(0, 1), `&payout=${payout}&days=400`))
    await paid.getByText(payout).waitFor()
    assert.ok(await sign.isDisabled())
  }
  await agree.check()
  await open(link(given.workers.slice(0, 1), `&payout=${given.workers[2]}`))
  assert.ok(await sign.isDisabled())
  // What changes the field without a word to the page changes no mind either.
  await agree.check()
  await page.evaluate(other => { document.getElementById('payout').value = other }, given.other)
  await page.getByLabel(/How many days/).fill('7')
  assert.ok(!await agree.isChecked() && await sign.isDisabled())
  await agree.check()
  await page.evaluate(other => { document.getElementById('payout').value = other }, given.workers[2])
  await sign.click()
  assert.ok(!await agree.isChecked() && await sign.isDisabled() && await done.isHidden())
  assert.deepEqual(await page.evaluate(() => window.asked), [])
  await agree.check()
  await sign.click()
  await says(done, /^Done/)
  assert.match((await page.evaluate(() => window.asked))[0], new RegExp(`Payout wallet: ${given.workers[2]}\n`))
})

// A link says which wallet its host waits for: another one is warned, and signs only when
// told to, for that link alone; the wallet itself is not asked.
await visit({ hash: link(given.workers.slice(1, 2), `&provider=${given.address.text}`), expected: unknown }, async ({ page, sign, connect }) => {
  await says(page.locator('#waits'), new RegExp(`^This host waits for wallet ${given.address.text}\\.`))
  await connect()
  assert.ok(await sign.isEnabled() && await page.locator('#stranger').isHidden())
})
for (const dark of [false, true]) await visit({ hash: link(given.workers.slice(1, 2), `&provider=${given.other}`), expected: unknown, width: 360, dark }, async ({ page, done, sign, connect }) => {
  await connect()
  const anyway = page.getByLabel(/Sign with this other wallet all the same/)
  await says(page.locator('#wrong'), new RegExp(`^This host waits for wallet ${given.other}\\. The connected wallet is another one, ${given.address.text}:`))
  await says(page.locator('#missing'), /Connect the wallet that the link names/)
  assert.ok(await sign.isDisabled())
  await anyway.check()
  assert.ok(await sign.isEnabled())
  await page.getByLabel(/How many days/).fill('30') // writes the link anew
  assert.ok(page.url().includes(`provider=${given.other}`) && await anyway.isChecked())
  await page.evaluate(hash => { location.hash = hash }, link(given.workers.slice(1, 2), `&provider=${given.workers[2]}`))
  await page.locator('#wrong').getByText(given.workers[2]).waitFor()
  assert.ok(!await anyway.isChecked() && await sign.isDisabled())
  assert.deepEqual(await page.evaluate(() => window.asked), [])
  await anyway.check()
  await fits(page, `stranger-${dark ? 'dark' : 'light'}`)
  await sign.click()
  await says(done, new RegExp(`^Done\\..* But the hosts wait for ${given.workers[2]}: start them with --provider ${given.address.text}\\.`))
})
await visit({ hash: link(given.workers.slice(1, 2), '&provider=nobody'), expected: unknown }, async ({ page, sign, connect }) => {
  await connect()
  await says(page.locator('#missing'), /link waits for, “nobody” is not a key/)
  assert.ok(await sign.isDisabled())
})

// Links and fields that are wrong are told in words, and what is right stays.
await visit({ hash: link([given.workers[1], given.workers[1].slice(1) + '0', '']), none: true, expected: unknown }, async ({ page, sign }) => {
  const bad = page.locator('#badworker')
  await says(bad, /^In the link: Worker “” is not a key/)
  assert.equal(await page.getByRole('listitem').count(), 1)
  const field = page.getByLabel('Key of another worker')
  await field.fill('  ' + given.workers[1] + ' ')
  await field.press('Enter')
  await says(bad, /is in the list already/)
  await field.fill('0OIl')
  await field.press('Enter')
  await says(bad, /^Worker “0OIl” is not a key/)
  assert.equal(await field.getAttribute('aria-invalid'), 'true')
  await field.fill(given.workers[2])
  await page.getByRole('button', { name: 'Add', exact: true }).click()
  assert.ok(await bad.isHidden() && await field.inputValue() === '')
  assert.equal(await page.getByRole('listitem').count(), 2)
  assert.ok(page.url().includes(given.workers[2]))
  await page.getByRole('button', { name: 'Remove worker ' + given.workers[1] }).click()
  assert.equal(await page.getByRole('listitem').count(), 1)
  assert.ok(!page.url().includes(given.workers[1]) && await sign.isDisabled())
  await page.evaluate(hash => { location.hash = hash }, link(given.workers))
  await page.getByText(given.workers[0]).first().waitFor()
})
await visit({ hash: link(given.workers.slice(1, 2), '&days=401'), expected: unknown }, async ({ page, sign, connect }) => {
  await connect()
  await says(page.locator('#missing'), /days must be a whole number from 1 to 400/)
  await page.getByLabel(/How many days/).fill('400')
  await page.getByLabel(/Wallet that is paid/).fill('nobody')
  await says(page.locator('#missing'), /wallet that is paid “nobody” is not a key/)
  await page.getByLabel(/Wallet that is paid/).fill('')
  assert.ok(await sign.isEnabled())
})

// Nothing is handed in that was not signed as shown, nor shown that the service renders
// otherwise; who says no is told that he did.
for (const [mode, pattern, more = []] of [
  ['declines', /^You declined in Test wallet\. Nothing was signed\.$/],
  ['breaks', /Test wallet failed: the device is not plugged in\. Nothing was handed in/],
  ['rewrites', /signed another text than the one shown\. Nothing was handed in/],
  ['forges', /The service refuses: .*signature/, ['status of 403']]
]) {
  await visit({ hash: link(given.workers.slice(1, 2)), mode, expected: [...unknown, ...more] }, async ({ page, problem, sign, connect }) => {
    let handed = 0
    page.on('request', r => { if (r.url().endsWith('/v1/statements')) handed++ })
    await connect()
    await sign.click()
    await says(problem, pattern)
    assert.equal(handed, mode === 'forges' ? 1 : 0)
    assert.ok(await sign.isEnabled())
    assert.equal(await page.evaluate(() => document.activeElement.id), 'problem')
  })
}
await visit({ hash: link(given.workers.slice(1, 2)), mode: 'shy', expected: unknown }, async ({ problem, connect }) => {
  await connect()
  await says(problem, /You declined in Test wallet/)
})
await visit({ hash: link(given.workers.slice(1, 2)), expected: unknown }, async ({ page, problem, sign, connect }) => {
  await page.route('**/v1/delegations/text', async route => {
    const answer = await route.fetch(), body = await answer.json()
    await route.fulfill({ response: answer, json: { ...body, text: body.text.replace(/Payout wallet: \w+/, 'Payout wallet: ' + given.other) } })
  })
  await connect()
  await sign.click()
  await says(problem, /The service wants another text than this page shows\. Nothing was signed/)
  assert.deepEqual(await page.evaluate(() => window.asked), [])
})

// A busy service is asked again; one that is away is told.
await visit({ hash: link(given.workers.slice(1, 2)), expected: [...unknown, 'status of 429', 'status of 503', 'net::ERR'] }, async ({ page, problem, done, sign, connect }) => {
  let times = 0
  await page.route('**/v1/statements', route => ++times > 2 ? route.continue() : route.fulfill({
    status: times === 1 ? 429 : 503, contentType: 'application/problem+json', headers: { 'Retry-After': '1' }, body: JSON.stringify({ type: 'urn:io:problem:busy', detail: 'busy' })
  }))
  await connect()
  await sign.click()
  await says(done, /^Done/)
  assert.equal(times, 3)
  await page.route('**/v1/delegations/text', route => route.abort())
  await sign.click()
  await says(problem, /The service does not answer\. Are you online\?/)
})

// On a telephone and on a desk, by day and by night.
for (const width of [360, 1280]) {
  for (const dark of [false, true]) {
    await visit({ hash: link(given.workers, `&payout=${given.other}`), width, dark, expected: unknown }, async ({ page, done, sign, connect }) => {
      await page.getByText('it has sent nothing yet').or(page.getByText('named it')).first().waitFor()
      await connect()
      const name = `${width}-${dark ? 'dark' : 'light'}`
      await page.getByText('works for another wallet').waitFor()
      await page.getByLabel(/which is not the wallet that signs/).check()
      await page.getByLabel('Key of another worker').fill('nobody')
      await page.getByLabel('Key of another worker').press('Enter')
      await page.locator('#badworker').waitFor()
      await fits(page, name + '-problem')
      await sign.click()
      await done.waitFor()
      await fits(page, name + '-done')
    })
    if (width === 360) await visit({ hash: '', width, dark, none: true }, ({ page }) => fits(page, `${width}-${dark ? 'dark' : 'light'}-empty`))
  }
}

// A service that lives below a path is asked there.
await visit({ hash: '', none: true, below: '/some/path' }, async ({ page }) => {
  assert.match(await page.locator('#command').innerText(), /--server http:\/\/[^ ]+\/some\/path --keypair/)
})

// No page can show it in a frame.
const framed = await browser.newPage()
await framed.setContent(`<iframe src="${given.url}/delegate"></iframe>`)
await framed.waitForTimeout(500)
assert.ok(!await framed.frames()[1]?.getByText('Delegate workers').count())
await browser.close()
console.log('ok')
