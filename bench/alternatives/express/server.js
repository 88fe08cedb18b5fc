// The guide's Express handler: look in the request itself, compare, commit, answer. `node server.js PORT [cached|lean]`
// It asks for a token at each request and calls PortOne through axios, as the guide's sample does; "cached" asks once;
// "lean" also calls through Node's own http module, by hand, which the guide's does not.
// Beside it are the obvious routes that register, read and confirm an order, with one statement each.
import { readFileSync } from "node:fs";
import http from "node:http";
import axios from "axios";
import express from "express";
import pg from "pg";

const [port, mode] = process.argv.slice(2);
const portone = process.env.PORTONE_API_URL;
const settle = readFileSync(new URL("../settle.sql", import.meta.url), "utf8");
const register = `INSERT INTO orders (merchant_uid, amount, currency, name, state, expires_at)
  VALUES ($1, $2, $3, $4, 'pending', now() + interval '30 days') ON CONFLICT DO NOTHING`;
const read = `SELECT merchant_uid, state, amount, currency, paid_amount, imp_uid, name, created_at, updated_at
  FROM orders WHERE merchant_uid = $1`;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const agent = new http.Agent({ keepAlive: true, maxSockets: 100 });
const client = axios.create({ baseURL: portone, httpAgent: agent });

async function callByAxios(method, url, headers, data) {
  return (await client({ method, url, headers, data })).data.response;
}

function callByHand(method, path, headers, data) {
  return new Promise((resolve, reject) => {
    const body = data && JSON.stringify(data);
    if (body) headers = { ...headers, "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
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

const call = mode === "lean" ? callByHand : callByAxios;
const getToken = async () => (await call("POST", "/users/getToken", {}, { imp_key: "k", imp_secret: "s" })).access_token;
const once = mode ? getToken() : null;

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.json());

// Both notices are answered alike, as in the guide: look, compare and write, answer. Says whether the order is paid.
async function look(imp_uid) {
  const Authorization = await (once ?? getToken());
  const payment = await call("GET", `/payments/${encodeURIComponent(imp_uid)}`, { Authorization });
  if (payment.status !== "paid") return false;
  const values = [payment.merchant_uid, payment.amount, payment.currency, payment.imp_uid];
  if ((await pool.query({ name: "settle", text: settle, values })).rowCount) return true;
  const order = await readOrder(payment.merchant_uid); // the other notice was faster, or the amounts differ
  return order?.state === "paid" && order.imp_uid === payment.imp_uid;
}

async function readOrder(merchant_uid) {
  return (await pool.query({ name: "read", text: read, values: [merchant_uid] })).rows[0];
}

app.post("/webhooks/portone/v1", async (req, res) => {
  await look(req.body.imp_uid);
  res.type("text/plain").send("OK");
});
app.post("/payment/complete", async (req, res) => {
  if (await look(req.body.imp_uid)) res.json({ status: "success" });
  else res.status(400).json({ status: "forgery" });
});
app.post("/payments/confirm", async (req, res) => {
  const order = await readOrder(req.body.merchant_uid);
  if (order?.state === "pending" && Number(order.amount) === req.body.amount) res.json({});
  else res.status(409).json({ reason: "not payable" });
});
app.post("/orders", async (req, res) => {
  const values = [req.body.merchant_uid, req.body.amount, req.body.currency, req.body.name];
  const { rowCount } = await pool.query({ name: "register", text: register, values });
  res.status(rowCount ? 201 : 200).json(req.body);
});
app.get("/orders/:merchant_uid", async (req, res) => {
  const order = await readOrder(req.params.merchant_uid);
  res.status(order ? 200 : 404).json(order ?? {});
});
app.listen(Number(port), "127.0.0.1", 1024);
