// The recorded quotes by npm's @uniswap/v3-sdk: how many a second, and how many equal.
// Usage: node v3_sdk.mjs <folder with node_modules> <pools.json> <rounds>
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder, file, rounds] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
const { Pool, Tick, TickListDataProvider } = require('@uniswap/v3-sdk')
const { CurrencyAmount, Token } = require('@uniswap/sdk-core')

const work = []
for (const recorded of JSON.parse(readFileSync(file, 'utf8'))) {
  const tokens = [new Token(1, recorded.token0, 18), new Token(1, recorded.token1, 18)]
  const ticks = recorded.ticks.map(([index, gross, net]) => new Tick({ index, liquidityGross: gross, liquidityNet: net }))
  const provider = new TickListDataProvider(ticks, recorded.tick_spacing)
  for (const direction of recorded.directions) {
    const pool = new Pool(
      ...tokens, recorded.fee_pips, direction.sqrt_price_x96, recorded.liquidity, recorded.tick, provider,
    )
    const down = direction.token_in === recorded.token0
    const [given, wanted] = down ? tokens : [tokens[1], tokens[0]]
    for (const [exactIn, specified, calculated] of direction.quotes) {
      work.push({ pool, exactIn, amount: CurrencyAmount.fromRawAmount(exactIn ? given : wanted, specified), calculated })
    }
  }
}

let best = Infinity
let equal = 0
for (let round = 0; round < Number(rounds); round += 1) {
  equal = 0
  const began = process.cpuUsage()
  for (const { pool, exactIn, amount, calculated } of work) {
    const [other] = exactIn ? await pool.getOutputAmount(amount) : await pool.getInputAmount(amount)
    if (other.quotient.toString() === calculated) equal += 1
  }
  const used = process.cpuUsage(began)
  best = Math.min(best, (used.user + used.system) / 1e6)
}
console.log(JSON.stringify({ quotes: work.length, equal, per_s: work.length / best }))
