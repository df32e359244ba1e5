// Makes calls with the official OpenAI client and tells what came: for each line of
// standard input, a JSON object {"call", "params", "headers"}, one line of JSON.
//
//   node calls.mjs <base URL, which ends with /v1>
import { createInterface } from 'node:readline'
import OpenAI from 'openai'

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'unused', maxRetries: 0 })

const calls = {
  chat: (params, options) => client.chat.completions.create(params, options),
  completion: (params, options) => client.completions.create(params, options),
  embedding: (params, options) => client.embeddings.create(params, options),
  image: (params, options) => client.images.generate(params, options),
  models: (_, options) => client.models.list(options),
}

// add takes a chunk of a stream into the answer.
function add(out, chunk) {
  out.chunks++
  for (const c of chunk.choices ?? []) {
    out.text += c.delta?.content ?? c.text ?? ''
    if (c.finish_reason) out.finish = c.finish_reason
  }
  if (chunk.usage) out.usage = chunk.usage
}

// whole takes an answer that came at once.
function whole(out, data) {
  out.usage = data.usage ?? null
  const [choice] = data.choices ?? []
  if (choice) {
    out.text = choice.message?.content ?? choice.text
    out.finish = choice.finish_reason
  }
  if (Array.isArray(data.data)) {
    out.items = data.data.length
    out.models = data.data.map(d => d.id).filter(Boolean)
    out.dimensions = data.data[0]?.embedding?.length ?? 0
    out.bytes = data.data.map(d => (d.b64_json ? Buffer.from(d.b64_json, 'base64').length : 0))
  }
}

async function make({ call, params = {}, headers = {} }) {
  const out = { call, ok: true, text: '', chunks: 0 }
  try {
    const { data, response } = await calls[call](params, { headers }).withResponse()
    out.status = response.status
    out.headers = Object.fromEntries([...response.headers].filter(([name]) => name.startsWith('ionet-')))
    if (params.stream) for await (const chunk of data) add(out, chunk)
    else whole(out, data)
  } catch (e) {
    Object.assign(out, { ok: false, class: e.constructor.name, status: e.status ?? 0, message: e.message, type: e.type ?? '', code: e.code ?? '', param: e.param ?? '' })
    if (e.headers) out.headers = Object.fromEntries([...e.headers].filter(([name]) => name.startsWith('ionet-')))
  }
  return out
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim()) console.log(JSON.stringify(await make(JSON.parse(line))))
}
