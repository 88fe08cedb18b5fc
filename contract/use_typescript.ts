// A program that uses the generated types: it registers an order, reads it, waits for its payment, and follows the feed.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./orders.js";

type Event = components["schemas"]["Event"];

const { BASE_URL, SERVICE_KEY, SANDBOX_URL } = process.env;
const client = createClient<paths>({ baseUrl: BASE_URL, headers: { Authorization: `Bearer ${SERVICE_KEY}` } });
const path = { merchant_uid: "주문/typescript" };

const registered = await client.POST("/orders", { body: { merchant_uid: path.merchant_uid, amount: 64900 } });
assert.equal(registered.data?.state, "pending");

const read = await client.GET("/orders/{merchant_uid}", { params: { path } });
const { checkout_token, ...order } = registered.data!;
assert.deepEqual(read.data, { ...order, payment: null });

const waiting = client.GET("/orders/{merchant_uid}", {
  params: { path, header: { "If-None-Match": read.response.headers.get("ETag")!, Prefer: "wait=60" } },
});
const paid = await fetch(`${SANDBOX_URL}/_control/pay`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ imp_uid: "imp_typescript", merchant_uid: path.merchant_uid, amount: 64900 }),
});
assert.ok(paid.ok);
assert.equal((await waiting).data?.state, "paid");

const events: Event[] = [];
let after: string | undefined;
while (events.at(-1)?.state !== "paid") {
  const query = { after, wait: 30, merchant_uid: [path.merchant_uid] };
  const page = await client.GET("/events", { params: { query } });
  assert.ok(page.data, JSON.stringify(page.error));
  events.push(...page.data.events);
  after = page.data.next;
}
assert.deepEqual(events.map((event) => [event.type, event.version]), [["order.registered", 1], ["order.paid", 2]]);

const refused = await client.POST("/orders", { body: { merchant_uid: path.merchant_uid, amount: 1 } });
assert.equal(refused.error?.type, "urn:portone-orders:problem:other-terms");
console.log("openapi-typescript: registered, read, waited and followed");
