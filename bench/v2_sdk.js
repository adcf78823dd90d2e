// npm's @uniswap/v2-sdk on the same pools and questions: one JSON object on standard input, one on standard output.
const { Pair, Trade } = require("@uniswap/v2-sdk");
const { CurrencyAmount, Token } = require("@uniswap/sdk-core");

const { pools, questions, hops } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const tokens = new Map();
const token = (address) => {
  if (!tokens.has(address)) tokens.set(address, new Token(1, address, 18));
  return tokens.get(address);
};
const pairs = pools.map(
  (pool) =>
    new Pair(
      CurrencyAmount.fromRawAmount(token(pool.token0), pool.reserve0),
      CurrencyAmount.fromRawAmount(token(pool.token1), pool.reserve1),
    ),
);
const milliseconds = [];
const amounts = [];
for (const [tokenIn, tokenOut, amount] of questions) {
  const paid = CurrencyAmount.fromRawAmount(token(tokenIn), amount);
  const began = process.cpuUsage();
  const trades = Trade.bestTradeExactIn(pairs, paid, token(tokenOut), { maxNumResults: 1, maxHops: hops });
  const { user, system } = process.cpuUsage(began);
  milliseconds.push((user + system) / 1e3);
  amounts.push(trades.length ? trades[0].outputAmount.quotient.toString() : "0");
}
process.stdout.write(JSON.stringify({ milliseconds, amounts }));
