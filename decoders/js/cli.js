#!/usr/bin/env node
// node cli.js IN.sinr OUT.{npy,png} [--coords C.npy] [--size WxH] [--passes N] [--partial] [--base BASE.sinr]

import { run } from "./command.js";

const { status, line, detail } = await run(process.argv.slice(2));
console.log(line);
if (detail) console.error(detail);
process.exitCode = status;
