// The guide's Express handler: look in the request itself, compare, commit, answer. `node server.js PORT [cached|lean]`
// It asks for a token at each request and calls PortOne through axios, as the guide's sample does; "cached" asks once;
// "lean" also calls through Node's own http module, by hand, which the guide's does not.
import { readFileSync } from "node:fs";
import http from "node:http";
import axios from "axios";
import express from "express";
import pg from "pg";

const [port, mode] = process.argv.slice(2);
const portone = process.env.PORTONE_API_URL;
const settle = readFileSync(new URL("../settle.sql", import.meta.url), "utf8");
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
app.post("/webhooks/portone/v1", async (req, res) => {
  const Authorization = await (once ?? getToken());
  const payment = await call("GET", `/payments/${encodeURIComponent(req.body.imp_uid)}`, { Authorization });
  if (payment.status === "paid") {
    const values = [payment.merchant_uid, payment.amount, payment.currency, payment.imp_uid];
    await pool.query({ name: "settle", text: settle, values });
  }
  res.type("text/plain").send("OK");
});
app.listen(Number(port), "127.0.0.1", 1024);
