// An endpoint in Node that verifies with the `standardwebhooks` package, and misbehaves as receiver.py does.
// node receiver.mjs PORT LOG SECRET TRAP SHARE
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const [port, log, secret, trap, share] = process.argv.slice(2);
const webhook = new Webhook(secret);

// Each fault says whether the webhook counts as accepted; `stall` accepts and never says so.
const faults = {
  fail: (_, answer) => answer.writeHead(500).end("broken"),
  throttle: (_, answer) => answer.writeHead(429, { "Retry-After": "0" }).end(),
  redirect: (_, answer) => answer.writeHead(307, { Location: trap }).end(),
  garbage: (request) => request.socket.end("\x00\xffgarbage\r\n\r\n"),
  reset: (request) => request.socket.destroy(),
  stall: () => {},
  slow: (_, answer) => setTimeout(() => answer.writeHead(200).end(), 500),
};
const accepting = new Set(["stall", "slow"]);

createServer((request, answer) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts).toString();
    const names = Object.keys(faults);
    const fault = Math.random() < Number(share) ? names[Math.floor(Math.random() * names.length)] : null;
    const record = { id: request.headers["webhook-id"], verified: true };
    try {
      Object.assign(record, webhook.verify(body, request.headers).data, { id: record.id });
    } catch (error) {
      record.verified = String(error);
    }
    if (!fault || accepting.has(fault)) appendFileSync(log, JSON.stringify(record) + "\n");
    if (fault) faults[fault](request, answer);
    else answer.writeHead(204).end();
  });
}).listen(Number(port), "127.0.0.1");
