// The checkout: choose one of the goods, register its order through the shop's back end, open the payment window.

import { readGoods, registerOrder } from "./backend.js";
import { keepToken } from "./checkout_state.js";
import { pay } from "./payment.js";
import { currentLanguage, keepWritten, money, onLanguage, text } from "./texts.js";
import { followOrder } from "./timeline.js";

// The providers whose windows, callbacks and habits differ most, so that a visitor meets them all.
const PROVIDERS = { card: "html5_inicis", vbank: "tosspayments", kakaopay: "kakaopay", trans: "tosspayments" };

const form = document.getElementById("checkout");
const button = document.getElementById("pay");
const quantity = document.getElementById("quantity");
const catalogue = await readGoods();

keepWritten();
onLanguage(writeShelf);
onLanguage(writeTotal);
form.addEventListener("input", writeTotal);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  buy();
});
document.getElementById("less").addEventListener("click", () => step(-1));
document.getElementById("more").addEventListener("click", () => step(1));
button.disabled = false;

function writeShelf() {
  const shelf = document.getElementById("shelf");
  const chosen = form.elements.good?.value ?? catalogue.goods[0].id;
  shelf.replaceChildren(...catalogue.goods.map((good) => writeGood(good, good.id === chosen)));
}

function writeGood(good, chosen) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "good", value: good.id });
  input.checked = chosen;
  const picture = Object.assign(document.createElement("img"), { src: `/shop/static/${good.id}.svg`, alt: "" });
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: good[currentLanguage()] });
  const price = document.createElement("span");
  Object.assign(price, { className: "price", textContent: money(good.price, good.currency) });
  label.append(input, picture, name, price);
  return label;
}

function chosenQuantity() {
  const wished = Math.trunc(Number(quantity.value)) || 1;
  return Math.min(Math.max(wished, 1), catalogue.most_of_one);
}

function step(by) {
  quantity.value = chosenQuantity() + by;
  quantity.value = chosenQuantity();
  writeTotal();
}

function writeTotal() {
  const good = catalogue.goods.find((one) => one.id === form.elements.good.value);
  const amount = money(good.price * chosenQuantity(), good.currency);
  document.getElementById("total").textContent = amount;
  button.textContent = text("pay_amount", { amount });
}

function say(key) {
  document.getElementById("message").textContent = key && text(key);
}

async function buy() {
  button.disabled = true;
  say("registering");
  const choice = { good: form.elements.good.value, quantity: chosenQuantity(), language: currentLanguage() };
  const { status, body } = await registerOrder(choice).catch(() => ({ status: 0 }));
  button.disabled = false;
  if (status !== 201) {
    say("no_service");
    return;
  }
  const { checkout_token: token, ...checkout } = body;
  keepToken(checkout.merchant_uid, token);
  followOrder(checkout.merchant_uid);
  say("paying");
  const fields = Object.fromEntries(["buyer_name", "buyer_tel", "buyer_email"].map((name) => [name, form.elements[name].value]));
  const method = form.elements.pay_method.value;
  const buyer = { ...fields, pay_method: method, pg: PROVIDERS[method] };
  const mode = form.elements.window.value;
  pay({ checkout, buyer, serviceUrl: catalogue.service_url, mode }, () => say("checking"));
}
