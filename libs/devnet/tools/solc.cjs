// Runs solc-js without its npm dependencies: node solc.cjs SOLJSON < standard-input.json > standard-output.json
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const soljson = require(path.resolve(process.argv[2]));
const compile = soljson.cwrap("solidity_compile", "string", ["string", "number", "number"]);
process.stdout.write(compile(fs.readFileSync(0, "utf8"), 0, 0));
