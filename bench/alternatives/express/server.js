// The guide's Express handler: look in the request itself, compare, commit, answer. `node server.js PORT [cached]`
// With "cached" the token is asked for once; otherwise for each request, as the guide's sample does.
import { readFileSync } from "node:fs";
import http from "node:http";
import express from "express";
import pg from "pg";

const [port, mode] = process.argv.slice(2);
const portone = process.env.PORTONE_API_URL;
const settle = readFileSync(new URL("../settle.sql", import.meta.url), "utf8");
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const agent = new http.Agent({ keepAlive: true, maxSockets: 100 });

function call(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(portone + path, { method, agent, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        if (response.statusCode !== 200) return reject(new Error(`PortOne answered ${response.statusCode}`));
        resolve(JSON.parse(Buffer.concat(parts)).response);
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function getToken() {
  const body = JSON.stringify({ imp_key: "k", imp_secret: "s" });
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  return (await call("POST", "/users/getToken", headers, body)).access_token;
}

const cached = mode === "cached" ? getToken() : null;
const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.json());
app.post("/webhooks/portone/v1", async (req, res) => {
  const token = await (cached ?? getToken());
  const payment = await call("GET", `/payments/${encodeURIComponent(req.body.imp_uid)}`, { Authorization: token });
  if (payment.status === "paid") {
    const values = [payment.merchant_uid, payment.amount, payment.currency, payment.imp_uid];
    await pool.query({ name: "settle", text: settle, values });
  }
  res.type("text/plain").send("OK");
});
app.listen(Number(port), "127.0.0.1", 1024);
